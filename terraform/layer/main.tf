module "project" {
  source = "../project"
  count  = var.project == null ? 1 : 0

  builder          = var.builder
  name             = var.name
  source_dir       = var.source_dir
  repo             = var.repo
  ref              = var.ref
  path             = var.path
  build_file       = var.build_file
  exclude          = var.exclude
  exclude_defaults = var.exclude_defaults
  executable       = var.executable
  layers           = var.layers
  layer_inputs     = var.layer_inputs
}

locals {
  project      = var.project != null ? var.project : one(module.project[*])
  says         = try(local.project.spec.function.architecture, null)
  architecture = var.architecture != null ? var.architecture : local.says != null ? local.says : local.project.is_local ? var.builder.architecture : null
}

resource "aws_lambda_invocation" "layers" {
  count = length(local.project.layers) > 0 ? 1 : 0

  function_name = var.builder.function_name
  # The same for every state of the files: what makes it run again is in `triggers`.
  input = jsonencode({ for key, value in merge(local.project.request, {
    action       = "package"
    function     = var.name
    components   = local.project.layers
    architecture = local.architecture
    on_error     = "raise"
    reply        = ["packages", "warnings"]
    by           = "terraform"
  }) : key => value if value != null })
  triggers = merge(var.triggers, { project = local.project.layer_hash, builder = var.builder.version })

  lifecycle {
    # What there was stays until the new is there: also in the state, when a build fails.
    create_before_destroy = true

    postcondition {
      condition     = jsondecode(self.result).statusCode == 200
      error_message = "The builder has not finished: ${self.result}"
    }
  }
}

locals {
  packages = { for row in try(jsondecode(aws_lambda_invocation.layers[0].result).packages, []) : row.name => row }
}

resource "aws_lambda_layer_version" "this" {
  for_each = toset(local.project.layers)

  # The key is the hash of the content, so no version of the object has to be named.
  layer_name               = "${var.name}-${each.key}"
  s3_bucket                = var.builder.bucket
  s3_key                   = local.packages[each.key].key
  source_code_hash         = local.packages[each.key].source_code_hash
  description              = coalesce(local.packages[each.key].description, "${each.key} of ${var.name}")
  license_info             = local.packages[each.key].license
  compatible_runtimes      = local.packages[each.key].compatible_runtimes
  compatible_architectures = local.packages[each.key].compatible_architectures
  skip_destroy             = var.keep_versions

  lifecycle {
    create_before_destroy = true
  }
}
