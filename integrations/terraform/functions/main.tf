# Read, and not a resource: so a plan builds what is new, and knows the key of every artifact. What the commit does not
# change has the key that it had, and is not in the plan. Packaging only adds to the store.
data "aws_lambda_invocation" "package" {
  function_name = var.builder.function_name
  input = jsonencode({ for key, value in {
    action     = "package"
    project    = var.name
    repo       = var.repo
    ref        = var.ref
    path       = var.path == "" ? null : var.path
    build_file = var.build_file
    stage      = var.stage
    on_error   = "raise"
    reply      = ["functions", "function", "warnings"]
    by         = "terraform"
  } : key => value if value != null })

  lifecycle {
    postcondition {
      condition     = jsondecode(self.result).statusCode == 200
      error_message = "The builder has not finished: ${self.result}"
    }
    postcondition {
      condition     = can(jsondecode(self.result).functions)
      error_message = "The build file of ${var.name} has one function: use the module function."
    }
  }
}

locals {
  functions = { for row in try(jsondecode(data.aws_lambda_invocation.package.result).functions, []) : row.key => row }
  zips      = { for key, row in local.functions : key => one([for each in row.packages : each if each.kind == "function"]) }

  # Functions with the same layer have the same object. The content is in the key, so that others keep theirs.
  layer_rows = flatten([for row in values(local.functions) : [for each in row.packages : each if each.kind == "layer"]])
  layers     = { for id, rows in { for row in local.layer_rows : "${row.name}/${substr(sha256(row.key), 0, 8)}" => row... } : id => rows[0] }
  layer_ids  = { for id, row in local.layers : "${row.name} ${row.key}" => id }
  ids = {
    for key, row in local.functions : key => { for each in row.packages : each.name => local.layer_ids["${each.name} ${each.key}"] if each.kind == "layer" }
  }

  # What only a deploy by the builder sets.
  unknown = {
    for key, row in local.functions : key => concat(
      keys(row.function.configuration), row.function.url == null ? [] : ["url"], row.function.log_retention == null ? [] : ["log_retention"]
    )
  }
}

resource "aws_lambda_layer_version" "this" {
  for_each = local.layers

  layer_name               = "${var.name}-${each.value.name}"
  s3_bucket                = each.value.bucket
  s3_key                   = each.value.key
  source_code_hash         = each.value.source_code_hash
  description              = each.value.description
  license_info             = each.value.license
  compatible_runtimes      = each.value.compatible_runtimes
  compatible_architectures = each.value.compatible_architectures
  skip_destroy             = var.keep_versions

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lambda_function" "this" {
  for_each = local.functions

  function_name    = each.value.name
  description      = each.value.function.description
  role             = try(coalesce(var.role, each.value.function.role), "")
  runtime          = each.value.function.runtime
  handler          = each.value.function.handler
  architectures    = [each.value.function.architecture]
  memory_size      = each.value.function.memory
  timeout          = each.value.function.timeout
  s3_bucket        = local.zips[each.key].bucket
  s3_key           = local.zips[each.key].key
  source_code_hash = local.zips[each.key].source_code_hash
  tags             = each.value.function.tags
  layers = [
    for name in each.value.function.layers : startswith(name, "arn:") ? name : aws_lambda_layer_version.this[local.ids[each.key][name]].arn
  ]

  dynamic "environment" {
    for_each = length(merge(each.value.function.environment, lookup(var.environment, each.key, {}))) > 0 ? [1] : []
    content {
      variables = merge(each.value.function.environment, lookup(var.environment, each.key, {}))
    }
  }
  dynamic "ephemeral_storage" {
    for_each = each.value.function.ephemeral_storage != null ? [each.value.function.ephemeral_storage] : []
    content {
      size = ephemeral_storage.value
    }
  }

  lifecycle {
    precondition {
      condition     = var.role != null || each.value.function.role != null
      error_message = "Neither the variable role nor role in the build file says which role the function ${each.key} has."
    }
    precondition {
      condition     = length(local.unknown[each.key]) == 0
      error_message = "The build file says of ${each.key} what this module does not set: ${join(", ", local.unknown[each.key])}. Remove it there and add a resource for it here, or use the module function for this one."
    }
  }
}
