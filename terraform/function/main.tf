module "project" {
  source = "../project"

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

# Built by themselves, so that a change of the code does not publish them again.
module "layers" {
  source = "../layer"

  builder       = var.builder
  name          = var.name
  project       = module.project
  architecture  = local.architecture
  keep_versions = var.keep_versions
  triggers      = var.triggers
}

locals {
  function = try(module.project.spec.function, null)
  is_seen  = local.function != null

  first_runtime = try(tostring(local.function.runtimes[0]), tostring(local.function.runtimes), null)
  says          = try(local.function.architecture, null)
  architecture  = var.architecture != null ? var.architecture : local.says != null ? local.says : module.project.is_local ? var.builder.architecture : null
}

resource "aws_lambda_invocation" "package" {
  function_name = var.builder.function_name
  # The same for every state of the files: what makes it run again is in `triggers`.
  input = jsonencode({ for key, value in merge(module.project.request, {
    action       = "package"
    function     = var.name
    architecture = local.architecture
    attached     = length(var.extra_layers) > 0 ? keys(var.extra_layers) : null
    on_error     = "raise"
    reply        = ["packages", "function", "warnings"]
    by           = "terraform"
  }) : key => value if value != null })
  triggers = merge(var.triggers, { project = module.project.hash, builder = var.builder.fingerprint })

  # Not to build the layers twice at the same time.
  depends_on = [module.layers]

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
  reply  = jsondecode(aws_lambda_invocation.package.result)
  built  = local.reply.function
  code   = one([for row in local.reply.packages : row if row.kind == "function"])
  layers = { for row in local.reply.packages : row.name => row.source_code_hash if row.kind == "layer" }

  # What the build file says. A file that Terraform sees is read here, so that a plan knows it; else the builder tells.
  said = {
    runtime           = local.is_seen ? local.first_runtime : local.built.runtime
    handler           = local.is_seen ? try(local.function.handler, startswith(local.first_runtime, "provided") ? "bootstrap" : null, null) : local.built.handler
    memory            = local.is_seen ? try(local.function.memory, null) : local.built.memory
    timeout           = local.is_seen ? try(local.function.timeout, null) : local.built.timeout
    ephemeral_storage = local.is_seen ? try(local.function.ephemeral_storage, null) : local.built.ephemeral_storage
    description       = local.is_seen ? try(local.function.description, null) : local.built.description
    role              = local.is_seen ? try(local.function.role, null) : local.built.role
    log_retention     = local.is_seen ? try(local.function.log_retention, null) : local.built.log_retention
  }
  said_environment   = tomap({ for key, value in coalesce(local.is_seen ? try(local.function.environment, null) : local.built.environment, {}) : key => tostring(value) })
  said_tags          = tomap({ for key, value in coalesce(local.is_seen ? try(local.function.tags, null) : local.built.tags, {}) : key => tostring(value) })
  said_configuration = local.is_seen ? try(local.function.configuration, {}) : local.built.configuration
  differing = [
    for key, value in merge(local.said, { environment = local.said_environment, tags = local.said_tags }) : key
    if jsonencode(value) != jsonencode(try(local.built[key], null)) && !(try(length(value) == 0, false) && local.built[key] == null)
  ]

  # Lambda's own names that the resource below knows.
  settable = ["VpcConfig", "TracingConfig", "ReservedConcurrentExecutions", "DeadLetterConfig", "KMSKeyArn"]
  unknown  = [for key, _ in local.built.configuration : key if !contains(local.settable, key)]

  runtime           = var.runtime != null ? var.runtime : local.said.runtime
  handler           = var.handler != null ? var.handler : local.said.handler
  role              = var.role != null ? var.role : local.said.role
  memory            = var.memory != null ? var.memory : local.said.memory
  timeout           = var.timeout != null ? var.timeout : local.said.timeout
  ephemeral_storage = var.ephemeral_storage != null ? var.ephemeral_storage : local.said.ephemeral_storage
  description       = var.description != null ? var.description : local.said.description
  environment       = merge(local.said_environment, var.environment)
  tags              = merge(local.said_tags, var.tags)
  log_retention     = var.log_retention != null ? var.log_retention : local.is_seen ? try(local.function.log_retention, null) : null

  vpc             = var.vpc != null ? var.vpc : try({ subnet_ids = local.said_configuration.VpcConfig.SubnetIds, security_group_ids = local.said_configuration.VpcConfig.SecurityGroupIds }, null)
  tracing         = var.tracing != null ? var.tracing : try(local.said_configuration.TracingConfig.Mode, null)
  concurrency     = var.reserved_concurrency != null ? var.reserved_concurrency : try(local.said_configuration.ReservedConcurrentExecutions, null)
  dead_letter_arn = var.dead_letter_arn != null ? var.dead_letter_arn : try(local.said_configuration.DeadLetterConfig.TargetArn, null)
  kms_key_arn     = var.kms_key_arn != null ? var.kms_key_arn : try(local.said_configuration.KMSKeyArn, null)

  # Terraform sorts the keys of a mapping: the order of several layers is known from the builder alone.
  is_single = local.is_seen && length(try(keys(module.project.spec.layers), [])) <= 1
  own_arns = local.is_single && length(module.project.layers) <= 1 ? [for name in module.project.layers : module.layers.arns[name]] : [
    for name in local.built.layers : startswith(name, "arn:") ? name : module.layers.arns[name]
  ]
}

resource "aws_cloudwatch_log_group" "this" {
  count = local.log_retention != null ? 1 : 0

  name              = "/aws/lambda/${var.name}"
  retention_in_days = local.log_retention
  tags              = local.tags
}

resource "aws_lambda_function" "this" {
  function_name                  = var.name
  description                    = local.description
  role                           = local.role
  runtime                        = local.runtime
  handler                        = local.handler
  architectures                  = [local.architecture != null ? local.architecture : local.built.architecture]
  memory_size                    = local.memory
  timeout                        = local.timeout
  s3_bucket                      = var.builder.bucket
  s3_key                         = local.code.key
  source_code_hash               = local.code.source_code_hash
  layers                         = concat(local.own_arns, values(var.extra_layers))
  publish                        = var.alias != null
  reserved_concurrent_executions = local.concurrency
  kms_key_arn                    = local.kms_key_arn
  tags                           = local.tags

  dynamic "environment" {
    for_each = length(local.environment) > 0 ? [local.environment] : []
    content {
      variables = environment.value
    }
  }
  dynamic "ephemeral_storage" {
    for_each = local.ephemeral_storage != null ? [local.ephemeral_storage] : []
    content {
      size = ephemeral_storage.value
    }
  }
  dynamic "vpc_config" {
    for_each = local.vpc != null ? [local.vpc] : []
    content {
      subnet_ids         = vpc_config.value.subnet_ids
      security_group_ids = vpc_config.value.security_group_ids
    }
  }
  dynamic "tracing_config" {
    for_each = local.tracing != null ? [local.tracing] : []
    content {
      mode = tracing_config.value
    }
  }
  dynamic "dead_letter_config" {
    for_each = local.dead_letter_arn != null ? [local.dead_letter_arn] : []
    content {
      target_arn = dead_letter_config.value
    }
  }

  depends_on = [aws_cloudwatch_log_group.this]

  lifecycle {
    # The provider wants to know them when it plans.
    precondition {
      condition     = local.is_seen ? local.runtime != null && local.handler != null : var.runtime != null && var.handler != null
      error_message = "Terraform does not see a runtime and a handler in a build file of ${var.name}: give runtime and handler here as well."
    }
    precondition {
      condition     = local.role != null
      error_message = "Neither the variable role nor the build file's function.role says which role ${var.name} has."
    }
    precondition {
      condition     = alltrue([for name, hash in local.layers : try(module.layers.hashes[name] == hash, false)])
      error_message = <<-EOT
        The layers of ${var.name} are not those that belong to its code: ${join(", ", [for name, hash in local.layers : name if try(module.layers.hashes[name] != hash, true)])}.
        A file has changed that Terraform does not know to be part of them: name such files by a pattern in layer_inputs (["**"] for all).
        With repo, name every layer of the build file in layers.
      EOT
    }
    precondition {
      condition     = !local.is_seen || length(local.differing) == 0
      error_message = "Terraform reads the build file of ${var.name} otherwise than the builder does: ${join(", ", local.differing)} of function. Write the values in quotes, or without aliases and anchors."
    }
    precondition {
      condition     = local.runtime == local.built.runtime
      error_message = "${var.name} was built for ${local.built.runtime}, the first of the build file's runtimes, and cannot be given ${coalesce(local.runtime, "none")}."
    }
    precondition {
      condition     = length(local.unknown) == 0 && local.built.url == null
      error_message = "The build file of ${var.name} sets what this module does not: ${join(", ", concat(local.unknown, local.built.url != null ? ["url"] : []))}. Leave it out there, and make the resource of it yourself."
    }
    precondition {
      condition     = local.built.log_retention == null || local.log_retention != null
      error_message = "The build file of ${var.name} has log_retention, which Terraform does not see: give it here as well: log_retention = ${coalesce(local.built.log_retention, 0)}."
    }
  }
}

resource "aws_lambda_alias" "this" {
  count = var.alias != null ? 1 : 0

  name             = var.alias
  function_name    = aws_lambda_function.this.function_name
  function_version = aws_lambda_function.this.version
}
