locals {
  is_local = var.source_dir != null
  root     = var.source_dir != null ? var.source_dir : path.module
  folder   = trim(var.path, "/")
  below    = local.folder == "" ? "" : "${local.folder}/"

  excluded = concat(var.exclude_defaults, var.exclude)
  files = local.is_local ? setsubtract(
    fileset(local.root, "**"),
    setunion(toset([]), [for pattern in local.excluded : fileset(local.root, pattern)]...)
  ) : toset([])
  hashes = { for name in local.files : name => filesha256("${local.root}/${name}") }

  # fileset knows no modes. In base64, IyE and IyF are #! and a letter or a slash, f0VMR is the head of an ELF file.
  executable = var.executable != null ? setintersection(
    local.files, setunion(toset([]), [for pattern in coalesce(var.executable, []) : fileset(local.root, pattern)]...)
    ) : toset([
      for name in local.files : name
      if can(regex("^(IyE|IyF|f0VMR)", filebase64("${local.root}/${name}"))) && !can(regex("\\.so(\\.|$)", name))
  ])
  manifest = jsonencode({ files = local.hashes, executable = sort(local.executable) })

  store = "${var.builder.prefix}sources/${var.name}"

  # --- what the build file says, if there is one, as far as Terraform can see it --------------------------------------------------
  candidates = var.build_file != null ? [var.build_file] : ["build.yaml", "build.yml", "build.json"]
  found      = [for name in local.candidates : name if contains(local.files, "${local.below}${name}")]
  build_file = one(slice(local.found, 0, min(1, length(local.found))))
  spec       = local.build_file == null ? null : yamldecode(file("${local.root}/${local.below}${local.build_file}"))

  # Layers from elsewhere are ARNs; `dependencies: []` is none.
  built_layers = [
    for name, value in try({ for key, each in local.spec.layers : key => each }, {}) : name
    if !can(regex("^arn:", value)) && try(length(value) > 0, true)
  ]
  layers = var.layers != null ? var.layers : local.built_layers

  # --- which files decide what is in the layers ------------------------------------------------------------------
  named = distinct(concat(
    [for entry in flatten([try(local.spec.layers.dependencies, [])]) : "${local.below}${trimsuffix(entry, "/")}"],
    flatten([
      for name in local.built_layers : [
        for entry in flatten([try(local.spec.layers[name].files, [])]) :
        "${local.below}${trimprefix("${trimsuffix(try(local.spec.layers[name].source_dir, "."), "/")}/", "./")}${trimsuffix(entry, "/")}"
      ]
    ])
  ))
  runs_commands = anytrue([for name in local.built_layers : can(local.spec.layers[name].preinstall) || can(local.spec.layers[name].build)])
  layer_files = var.layer_inputs != null ? setintersection(
    local.files, setunion(toset([]), [for pattern in coalesce(var.layer_inputs, []) : fileset(local.root, pattern)]...)
    ) : toset([
      for name in local.files : name
      if local.runs_commands
      || can(regex("(^|/)([^/]*\\.(txt|in|lock|toml|cfg)|Pipfile[^/]*|setup\\.py|package(-lock)?\\.json)$", name))
      || anytrue([for entry in local.named : name == entry || startswith(name, "${entry}/")])
      || contains(local.matched, name)
  ])
  matched = setunion(toset([]), [for entry in local.named : try(fileset(local.root, entry), toset([]))]...)
  layer_hash = sha256(jsonencode({
    files     = { for name in local.layer_files : name => local.hashes[name] if name != "${local.below}${coalesce(local.build_file, "/")}" }
    says      = try({ for key, value in local.spec : key => value if !contains(["function", "keep", "try", "optional_libraries"], key) }, null)
    runtimes  = try(local.spec.function.runtimes, null)
    processor = try(local.spec.function.architecture, null)
  }))
}

resource "aws_s3_object" "file" {
  for_each = local.hashes

  bucket      = var.builder.bucket
  key         = "${local.store}/files/${each.key}"
  source      = "${local.root}/${each.key}"
  source_hash = each.value
}

resource "aws_s3_object" "manifest" {
  count = local.is_local ? 1 : 0

  bucket       = var.builder.bucket
  key          = "${local.store}/manifest.json"
  content      = local.manifest
  content_type = "application/json"

  depends_on = [aws_s3_object.file]

  lifecycle {
    precondition {
      condition     = var.repo == null && var.ref == null
      error_message = "Give either source_dir or repo (with ref), not both."
    }
    precondition {
      condition     = var.build_file == null || local.build_file != null
      error_message = "There is no ${coalesce(var.build_file, "build file")} in ${local.root}/${local.folder}."
    }
    precondition {
      condition     = length(local.files) <= 2000
      error_message = "${local.root} has ${length(local.files)} files to send, each a resource of Terraform; leave out more with exclude (at most 2,000)."
    }
  }
}
