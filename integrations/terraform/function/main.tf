module "project" {
  source = "../project"

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
  # `url: true` is one with the defaults.
  said_url = !can(local.function.url) || try(local.function.url == null, false) ? null : {
    auth        = try(local.function.url.auth, "iam")
    cors        = try(local.function.url.cors, null)
    invoke_mode = try(local.function.url.invoke_mode, null)
  }
  said_environment   = tomap({ for key, value in coalesce(local.is_seen ? try(local.function.environment, null) : local.built.environment, {}) : key => tostring(value) })
  said_tags          = tomap({ for key, value in coalesce(local.is_seen ? try(local.function.tags, null) : local.built.tags, {}) : key => tostring(value) })
  said_configuration = local.is_seen ? try(local.function.configuration, {}) : local.built.configuration
  differing = [
    for key, value in merge(local.said, { environment = local.said_environment, tags = local.said_tags, url = local.said_url }) : key
    if jsonencode(value) != jsonencode(try(local.built[key], null)) && !(try(length(value) == 0, false) && local.built[key] == null)
  ]

  # Lambda's own names that the resource below knows.
  settable = [
    "VpcConfig", "TracingConfig", "ReservedConcurrentExecutions", "DeadLetterConfig", "KMSKeyArn", "LoggingConfig", "SnapStart",
    "FileSystemConfigs", "CodeSigningConfigArn",
  ]
  unknown = [for key, _ in coalesce(local.said_configuration, {}) : key if !contains(local.settable, key)]

  runtime           = var.runtime != null ? var.runtime : local.said.runtime
  handler           = var.handler != null ? var.handler : local.said.handler
  role              = local.makes_role ? one(aws_iam_role.this[*].arn) : var.role != null ? var.role : local.said.role
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
  signing_arn     = var.code_signing_config_arn != null ? var.code_signing_config_arn : try(local.said_configuration.CodeSigningConfigArn, null)
  snap_start      = var.snap_start != null ? var.snap_start : try(local.said_configuration.SnapStart.ApplyOn == "PublishedVersions", null)
  file_systems = var.file_systems != null ? var.file_systems : [
    for row in try(local.said_configuration.FileSystemConfigs, []) : { arn = row.Arn, path = row.LocalMountPath }
  ]
  said_logging = !can(local.said_configuration.LoggingConfig) ? null : {
    format            = try(local.said_configuration.LoggingConfig.LogFormat, "Text")
    application_level = try(local.said_configuration.LoggingConfig.ApplicationLogLevel, null)
    system_level      = try(local.said_configuration.LoggingConfig.SystemLogLevel, null)
    group             = try(local.said_configuration.LoggingConfig.LogGroup, null)
  }
  logging = var.logging_config != null ? var.logging_config : local.said_logging

  # What a plan has to know, since it decides which resources there are and how they are called.
  seen_group = local.is_seen ? try(local.function.configuration.LoggingConfig.LogGroup, null) : null
  own_group  = var.logging_config != null ? var.logging_config.group : local.seen_group
  log_group  = local.own_group != null ? local.own_group : "/aws/lambda/${var.name}"
  url        = jsondecode(var.url != null ? jsonencode(var.url) : jsonencode(local.is_seen ? local.said_url : null))

  # Terraform sorts the keys of a mapping: the order of several layers is known from the builder alone.
  is_single = local.is_seen && length(try(keys(module.project.spec.layers), [])) <= 1
  own_arns = local.is_single && length(module.project.layers) <= 1 ? [for name in module.project.layers : module.layers.arns[name]] : [
    for name in local.built.layers : startswith(name, "arn:") ? name : module.layers.arns[name]
  ]
}

resource "aws_cloudwatch_log_group" "this" {
  count = local.log_retention != null ? 1 : 0

  name              = local.log_group
  retention_in_days = local.log_retention
  tags              = local.tags
}

# --- the role, if this module is to make it ------------------------------------------------------------------------
data "aws_partition" "current" {
  count = local.makes_role ? 1 : 0
}

locals {
  makes_role = var.policies != null || var.managed_policies != null
  managed    = "arn:${try(data.aws_partition.current[0].partition, "aws")}:iam::aws:policy/service-role/"
  usual      = "${local.managed}${var.vpc != null ? "AWSLambdaVPCAccessExecutionRole" : "AWSLambdaBasicExecutionRole"}"
}

resource "aws_iam_role" "this" {
  count = local.makes_role ? 1 : 0

  name                 = var.role_name != null ? var.role_name : var.name
  permissions_boundary = var.permissions_boundary
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "lambda.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_iam_role_policy_attachment" "this" {
  for_each = local.makes_role ? merge({ usual = local.usual }, var.managed_policies) : {}

  role       = aws_iam_role.this[0].name
  policy_arn = each.value
}

resource "aws_iam_role_policy" "this" {
  for_each = var.policies != null ? var.policies : {}

  name   = each.key
  role   = aws_iam_role.this[0].name
  policy = each.value
}

# --- the function --------------------------------------------------------------------------------------------------
locals {
  # The provider sends the code when this is another text; triggers do so for code that was changed by hand.
  code_mark = length(var.triggers) == 0 ? local.code.source_code_hash : "${local.code.source_code_hash} ${sha256(jsonencode(var.triggers))}"
}

locals {
  # A destroy is planned, too, where the directory may be gone and these conditions are only warnings: the provider wants
  # some runtime and handler nevertheless.
  is_known = local.is_seen ? local.runtime != null && local.handler != null : var.runtime != null && var.handler != null
}

resource "aws_lambda_function" "this" {
  function_name                  = var.name
  description                    = local.description
  role                           = local.role
  runtime                        = local.is_known ? local.runtime : "provided.al2023"
  handler                        = local.is_known ? local.handler : "unknown"
  architectures                  = [local.architecture != null ? local.architecture : local.built.architecture]
  memory_size                    = local.memory
  timeout                        = local.timeout
  s3_bucket                      = var.builder.bucket
  s3_key                         = local.code.key
  source_code_hash               = local.code_mark
  layers                         = concat(local.own_arns, values(var.extra_layers))
  publish                        = var.alias != null
  reserved_concurrent_executions = local.concurrency
  kms_key_arn                    = local.kms_key_arn
  code_signing_config_arn        = local.signing_arn
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

  dynamic "logging_config" {
    for_each = local.logging != null ? [local.logging] : []
    content {
      log_format = logging_config.value.format
      # Lambda's own defaults; the provider finds a difference for ever where they are not named.
      application_log_level = logging_config.value.format == "JSON" ? coalesce(logging_config.value.application_level, "INFO") : null
      system_log_level      = logging_config.value.format == "JSON" ? coalesce(logging_config.value.system_level, "INFO") : null
      log_group             = logging_config.value.group
    }
  }
  dynamic "snap_start" {
    for_each = local.snap_start == true ? ["PublishedVersions"] : []
    content {
      apply_on = snap_start.value
    }
  }
  dynamic "file_system_config" {
    for_each = local.file_systems
    content {
      arn              = file_system_config.value.arn
      local_mount_path = file_system_config.value.path
    }
  }
  timeouts {
    create = var.timeouts.create
    update = var.timeouts.update
    delete = var.timeouts.delete
  }

  # Its first call may come as soon as it is there.
  depends_on = [aws_cloudwatch_log_group.this, aws_iam_role_policy_attachment.this, aws_iam_role_policy.this]

  lifecycle {
    # The provider does not send code again that something else has changed, and would publish it with the next change.
    postcondition {
      condition     = self.code_sha256 == local.code.source_code_hash
      error_message = "The code of ${var.name} is not what was built: Lambda has ${self.code_sha256}, and ${local.code.source_code_hash} was packaged. Something else has changed it, or an update has failed. To have the code sent again, change anything in triggers: triggers = { repaired = \"1\" }."
    }
    # The provider wants to know them when it plans.
    precondition {
      condition     = local.is_known
      error_message = "Terraform does not see a runtime and a handler in a build file of ${var.name}: give runtime and handler here as well."
    }
    precondition {
      condition     = local.role != null
      error_message = "Neither the variable role nor the build file's function.role says which role ${var.name} has; with policies or managed_policies this module makes one."
    }
    precondition {
      condition     = !(local.makes_role && var.role != null)
      error_message = "Give ${var.name} either role, or policies and managed_policies for a role that this module makes."
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
      condition     = length(local.unknown) == 0
      error_message = "The build file of ${var.name} sets what this module does not: ${join(", ", local.unknown)}. Leave it out there, and make the resource of it yourself."
    }
    precondition {
      condition     = try(local.url.auth, "iam") == "iam"
      error_message = "The URL of ${var.name} is to be open to all (auth: none), for which the provider lacks one of two permissions. Leave url out, and make the URL and its permissions yourself, or put an API Gateway or CloudFront in front."
    }
    precondition {
      condition     = local.url != null || local.is_seen || local.built.url == null
      error_message = "The build file of ${var.name} has url, which Terraform does not see: give it here as well: url = {}."
    }
    precondition {
      condition     = local.snap_start != true || var.alias != null
      error_message = "SnapStart is for published versions: give ${var.name} an alias."
    }
    precondition {
      condition     = var.canary == null || var.alias != null
      error_message = "canary divides what comes to an alias: give ${var.name} one."
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
  function_version = var.canary != null ? var.canary.stable : aws_lambda_function.this.version

  dynamic "routing_config" {
    for_each = [for canary in var.canary[*] : canary.weight if canary.stable != aws_lambda_function.this.version]
    content {
      additional_version_weights = { (aws_lambda_function.this.version) = routing_config.value }
    }
  }
}

resource "aws_lambda_function_url" "this" {
  count = local.url != null ? 1 : 0

  function_name      = aws_lambda_function.this.function_name
  qualifier          = one(aws_lambda_alias.this[*].name)
  authorization_type = "AWS_IAM"
  invoke_mode        = upper(coalesce(local.url.invoke_mode, "buffered"))

  dynamic "cors" {
    for_each = local.url.cors != null ? [local.url.cors] : []
    content {
      allow_credentials = try(cors.value.AllowCredentials, null)
      allow_headers     = try(cors.value.AllowHeaders, null)
      allow_methods     = try(cors.value.AllowMethods, null)
      allow_origins     = try(cors.value.AllowOrigins, null)
      expose_headers    = try(cors.value.ExposeHeaders, null)
      max_age           = try(cors.value.MaxAge, null)
    }
  }
}
