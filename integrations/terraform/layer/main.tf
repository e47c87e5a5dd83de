module "project" {
  source = "../project"
  count  = var.project == null ? 1 : 0

  builder      = var.builder
  name         = var.name
  source_dir   = var.source_dir
  repo         = var.repo
  ref          = var.ref
  path         = var.path
  build_file   = var.build_file
  exclude      = var.exclude
  ignore_files = var.ignore_files
  executable   = var.executable
  layers       = var.layers
  layer_inputs = var.layer_inputs
}

locals {
  project      = var.project != null ? var.project : one(module.project[*])
  says         = try(local.project.spec.function.architecture, null)
  architecture = var.architecture != null ? var.architecture : local.says != null ? local.says : local.project.is_local ? var.builder.architecture : null
}

resource "aws_lambda_invocation" "layers" {
  count = length(local.project.layers) > 0 ? 1 : 0

  function_name = var.builder.function_name
  input = jsonencode({ for key, value in merge(local.project.request, {
    action       = "package"
    function     = var.name
    components   = local.project.layers
    architecture = local.architecture
    on_error     = "raise"
    reply        = ["packages", "warnings"]
    by           = "terraform"
  }) : key => value if value != null })
  triggers = merge(var.triggers, {
    project = local.project.layer_hash
    builder = var.builder.version
    asked   = jsonencode([var.name, local.project.layers, local.architecture])
  })

  lifecycle {
    # What there was stays until the new is there: also in the state, when a build fails.
    create_before_destroy = true
    # It names the project as it was sent last, which any file changes; when it runs again is for `triggers` to say.
    ignore_changes = [input]
  }
}

locals {
  result   = one(aws_lambda_invocation.layers[*].result)
  packages = { for row in try(jsondecode(local.result).packages, []) : row.name => row }
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

    # Not a postcondition of the invocation: of one that failed there is no result, which Terraform tells as an invalid index.
    precondition {
      condition     = try(jsondecode(local.result).statusCode, 0) == 200
      error_message = "The builder has not finished: ${coalesce(local.result, "no answer")}"
    }
  }
}
