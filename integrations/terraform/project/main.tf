locals {
  store = "${var.builder.prefix}sources/${var.name}/"
  place = "${local.store}${terraform_data.owner.id}"

  # --- what the build file says, if there is one, as far as Terraform can see it --------------------------------------------------
  candidates = var.build_file != null ? [var.build_file] : ["build.yaml", "build.yml", "build.json"]
  found      = [for name in local.candidates : name if local.is_local && try(fileexists("${local.root}/${local.below}${name}"), false)]
  build_file = one(slice(local.found, 0, min(1, length(local.found))))
  build_text = local.build_file == null ? "" : file("${local.root}/${local.below}${local.build_file}")
  spec       = local.build_file == null ? null : yamldecode(local.build_text)

  # Layers from elsewhere are ARNs; `dependencies: []` is none.
  built_layers = [
    for name, value in try({ for key, each in local.spec.layers : key => each }, {}) : name
    if !can(regex("^arn:", value)) && try(length(value) > 0, true)
  ]
  layers = var.layers != null ? var.layers : local.built_layers

  # --- which files decide what is in the layers ------------------------------------------------------------------
  in_layers = flatten([
    for name in local.built_layers : [
      for entry in flatten([try(local.spec.layers[name].files, [])]) :
      "${local.below}${trimprefix("${trimsuffix(try(local.spec.layers[name].source_dir, "."), "/")}/", "./")}${trimsuffix(entry, "/")}"
    ]
  ])
  naming = concat(
    [for key in ["files", "inputs", "source_dir", "build"] : try(local.spec.function[key], null)],
    flatten([for name in local.built_layers : [for key in ["files", "inputs", "source_dir", "build", "preinstall"] : jsonencode(try(local.spec.layers[name][key], null))]]),
    [try(local.spec.layers.dependencies, null)],
  )
  folders = distinct([
    for folder in concat([".", try(local.spec.function.source_dir, ".")], [for name in local.built_layers : try(local.spec.layers[name].source_dir, ".")]) :
    "${local.below}${join("", [for part in split("/", folder) : "${part}/" if part != "" && part != "."])}"
  ])
  named = distinct(concat(
    [for entry in flatten([try(local.spec.layers.dependencies, [])]) : "${local.below}${trimsuffix(entry, "/")}"], local.in_layers
  ))
  runs_commands = anytrue([for name in local.built_layers : can(local.spec.layers[name].preinstall) || can(local.spec.layers[name].build)])
  inputs        = join("|", [for glob in var.layer_inputs != null ? var.layer_inputs : local.named : "^${local.regexes[glob]}(?:/.*)?$"])
  layer_files = toset([
    for name in local.files : name
    if(local.inputs != "" && can(regex(local.inputs, name)))
    || (var.layer_inputs == null && (
      local.runs_commands
      || can(regex("(^|/)([^/]*\\.(txt|in|lock|toml|cfg)|Pipfile[^/]*|setup\\.py|package(-lock)?\\.json)$", name))
    ))
  ])
  layer_hash = sha256(jsonencode({
    files     = { for name in local.layer_files : name => local.hashes[name] if name != "${local.below}${coalesce(local.build_file, "/")}" }
    says      = try({ for key, value in local.spec : key => value if !contains(["function", "keep", "try", "optional_libraries"], key) }, null)
    runtimes  = try(local.spec.function.runtimes, null)
    processor = try(local.spec.function.architecture, null)
  }))
}

# Says which module in which state this is: its id is random, and stays with the state.
resource "terraform_data" "owner" {}

data "aws_s3_objects" "held" {
  count = local.is_local ? 1 : 0

  bucket    = var.builder.bucket
  prefix    = local.store
  delimiter = "/"

  # Read by the apply the first time: the builder, with its bucket, may be made by the same.
  depends_on = [terraform_data.owner]
}

locals {
  others = [
    for folder in try(coalesce(data.aws_s3_objects.held[0].common_prefixes, []), []) : folder if folder != "${local.place}/"
  ]
}

# Before anything is written.
resource "terraform_data" "checked" {
  count = local.is_local ? 1 : 0

  input = var.name

  lifecycle {
    precondition {
      condition     = var.repo == null && var.ref == null
      error_message = "Give either source_dir or repo (with ref), not both."
    }
    precondition {
      condition     = local.is_listed
      error_message = "${local.root} cannot be listed: it has a symbolic link that leads nowhere (find '${local.root}' -xtype l), which Terraform cannot pass by, or cannot be read. Remove the link, also below directories that are left out."
    }
    precondition {
      condition     = length(local.loops) == 0
      error_message = "A symbolic link below ${local.root} leads back into its own directory: ${join(", ", slice(local.loops, 0, min(3, length(local.loops))))}. Remove it."
    }
    precondition {
      condition     = length(local.too_deep) == 0
      error_message = "There are more than 39 directories in each other below ${local.root}: ${join("", slice(local.too_deep, 0, min(1, length(local.too_deep))))}."
    }
    precondition {
      condition     = length(local.strange) == 0
      error_message = "These patterns are not understood: ${join(", ", local.strange)}. They are those of exclude, executable, layer_inputs, the build file's files and ${join(" or ", var.ignore_files)}."
    }
    precondition {
      condition     = !local.is_listed || length(local.listed) > 0
      error_message = "source_dir ${local.root} does not exist, or has no files."
    }
    precondition {
      condition     = length(local.listed) == 0 || length(local.files) > 0 || length(local.strange) + length(local.loops) > 0
      error_message = "Every file of ${local.root} is left out, by default, by exclude or ${join(" or ", var.ignore_files)}."
    }
    precondition {
      condition     = var.build_file == null || local.build_file != null
      error_message = "There is no ${coalesce(var.build_file, "build file")} in ${local.root}/${local.folder}."
    }
    precondition {
      condition     = local.is_small
      error_message = "${local.root} is too much for Terraform's state: its ${length(local.files) - length(local.large)} small files have ${local.manifest_mb} MB (at most 32), and ${length(local.large)} are larger than 256 KB (at most 500). Leave out more with exclude."
    }
    precondition {
      condition     = length(local.others) == 0
      error_message = "Another module or state holds the name ${var.name} in s3://${var.builder.bucket}: ${join(", ", local.others)}. Choose another name. If what held it is gone without terraform destroy, delete what is there."
    }
  }
}

# Below the owner's own folder, so no other state writes here; the event names the hash of what it means.
resource "aws_s3_object" "file" {
  for_each = { for hash, names in { for name, hash in local.large : hash => name... } : hash => names[0] }

  bucket      = var.builder.bucket
  key         = "${local.place}/files/${each.key}"
  source      = "${local.root}/${each.value}"
  source_hash = each.key

  depends_on = [terraform_data.checked]
}

resource "aws_s3_object" "manifest" {
  count = local.is_local ? 1 : 0

  bucket         = var.builder.bucket
  key            = "${local.place}/manifest.json.gz"     # one key: a replacement that fails would leave the old one to be deleted later
  content_base64 = sensitive(base64gzip(local.manifest)) # not to fill the plan with it
  content_type   = "application/gzip"

  depends_on = [aws_s3_object.file, terraform_data.checked]
}
