data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  package   = jsondecode(file("${var.package_dir}/package.json"))
  runtime   = var.runtime != null ? var.runtime : local.package.runtime
  code_hash = filebase64sha256("${var.package_dir}/builder.zip")

  partition = data.aws_partition.current.partition
  account   = data.aws_caller_identity.current.account_id
  region    = data.aws_region.current.id

  own_bucket = "${trim(replace(lower(var.name), "/[^a-z0-9-]/", "-"), "-")}-${local.account}-${local.region}"
  bucket     = var.bucket != null ? var.bucket : one(aws_s3_bucket.store[*].bucket)
  prefix     = "${var.name}/"
  layer      = "${var.name}-layer"

  # The builder, and what belongs to it: it may change none of them. Their roles are named alike.
  own_functions = [var.name, "${var.name}-worker", "${var.name}-setup"]
  own_role_names = [
    for name in [for each in concat(local.own_functions, ["${var.name}-store"]) : "${each}-${local.region}"] :
    length(name) <= 64 ? name : "${substr(name, 0, 55)}-${substr(sha256(name), 0, 8)}"
  ]
  # No builder changes a function with this tag, and setup.py leaves alone what is not its own.
  builder_tags  = merge(var.tags, { "lambdasmith:owner" = "terraform" })
  own_role_arns = [for name in local.own_role_names : "arn:${local.partition}:iam::${local.account}:role/${name}"]
  log_group     = "/aws/lambda/${var.name}"

  # CodeArtifact takes one user name only.
  indexes = [for index in var.indexes : merge(index, {
    username = index.username == null && startswith(coalesce(index.password, "-"), "codeartifact:") ? "aws" : index.username
  })]
  logins = {
    git      = [for login in var.git_logins : { for key, value in login : key => value if value != null && value != "" }]
    indexes  = [for index in local.indexes : { for key, value in index : key => value if value != null && value != "" }]
    projects = [for project in var.projects : { pattern = project.pattern, allow = project.allow }]
  }
  credentials = { for kind, rows in local.logins : kind => rows if length(rows) > 0 }
  settings = {
    BUCKET         = local.bucket
    PREFIX         = local.prefix
    LAYER          = local.layer
    GIT_BASE       = var.git_base
    GIT_USERNAME   = var.git_username
    GIT_HOSTS      = join(",", var.git_hosts)
    GIT_SECRET     = var.git_secret
    CA_BUNDLE      = var.ca_bundle
    INDEX_URL      = var.index_url
    ARCHIVE_CACHES = join(",", var.archive_caches)
    GO_PROXY       = var.go_proxy
    NPM_REGISTRY   = var.npm_registry
    CREDENTIALS    = length(local.credentials) > 0 ? jsonencode(local.credentials) : null
    TOOLCHAINS     = length(var.toolchains) > 0 ? jsonencode(var.toolchains) : null
    ROLE           = var.role
    FUNCTIONS      = join(",", var.functions)
    ROLES          = join(",", local.passed_roles)
    OWN_ROLES      = join(",", local.own_role_arns)
    CODE_SIGNING   = join(",", var.code_signing)
    TAG            = var.function_tag != null ? "${var.function_tag.name}=${var.function_tag.value}" : null
    STATUS         = var.status != "all" ? var.status : null
    EXPIRE_DAYS    = var.expire_days > 0 ? tostring(var.expire_days) : null
    FAN_OUT        = var.fan_out ? local.machine_arn : null

    FAN_OUT_FROM        = var.fan_out ? tostring(var.fan_out_from) : null
    FAN_OUT_CONCURRENCY = var.fan_out ? tostring(var.fan_out_concurrency) : null
  }

  # The state machine that has many functions made at a time.
  machine      = "${var.name}-fan-out"
  machine_arn  = format(local.here, "states", "stateMachine:${local.machine}")
  executions   = format(local.here, "states", "execution:${local.machine}")
  machine_role = "${local.machine}-${local.region}"

  # What bootstrap/policy/ gives the role of a builder that setup.py sets up; a test compares the two.
  here   = "arn:${local.partition}:%s:${local.region}:${local.account}:%s"
  lambda = format(local.here, "lambda", "%s")
  logs   = format(local.here, "logs", "%s")
  store  = "arn:${local.partition}:s3:::${local.bucket}"

  layer_arn     = format(local.lambda, "layer:${local.layer}")
  function_arn  = format(local.lambda, "function:${var.name}")
  function_arns = flatten([for name in var.functions : [for end in endswith(name, "*") ? [""] : ["", ":*"] : format(local.lambda, "function:${name}${end}")]])
  # As builder/spec/layer_names.py: a - or _ behind a - gets a _ before it, so that -- is the joint alone.
  layer_stems = [
    for name in var.functions : join("", [
      for at, letter in split("", name) :
      at > 0 && endswith(substr(name, 0, at), "-") && contains(["-", "_"], letter) ? "_${letter}" : letter
    ])
  ]
  layer_names  = distinct([for stem in local.layer_stems : "${stem}${endswith(stem, "-") ? "_" : ""}--*"])
  log_groups   = [for name in var.functions : format(local.logs, "log-group:/aws/lambda/${name}${endswith(name, "*") ? "" : ":*"}")]
  passed_roles = distinct(compact(concat([var.role], var.roles)))
  git_secret   = var.git_secret != null ? var.git_secret : "${var.name}/git"

  references = compact(concat(
    flatten([for login in var.git_logins : [login.token, login.private_key]]),
    flatten([for index in var.indexes : [for value in [index.username, index.password, index.token] : value if can(regex("^(secretsmanager|ssm):", value))]]),
  ))
  # A reference is SERVICE:NAME, and for a secret perhaps ?stage= and #KEY, for a parameter perhaps :VERSION.
  places = distinct(concat(
    [for reference in local.references : startswith(reference, "ssm:") ? replace(reference, "/^(ssm:(?:arn:[^:]*:ssm:[^:]*:[0-9]{12}:)?[^:]*):[^:]*$/", "$1") : regex("^[^?#]*", reference)],
    flatten([for project in var.projects : [for place in project.allow : split("#", place)[0]]]),
  ))
  secret_names    = [for place in local.places : trimprefix(place, "secretsmanager:") if startswith(place, "secretsmanager:")]
  parameter_names = [for place in local.places : trimprefix(place, "ssm:") if startswith(place, "ssm:")]
  # A secret's ARN ends with six random characters, and may be given without them; `…-secret` may be either.
  secret_stems = [for name in local.secret_names : startswith(name, "arn:") ? name : format(local.here, "secretsmanager", "secret:${name}")]
  secret_arns = distinct(flatten([
    for at, arn in local.secret_stems : endswith(arn, "*") ? [arn] : concat(
      startswith(local.secret_names[at], "arn:") && can(regex("-[A-Za-z0-9]{6}$", arn)) ? [arn] : [], ["${arn}-??????"]
    )
  ]))
  parameter_arns = distinct([
    for name in local.parameter_names : startswith(name, "arn:") ? name : format(local.here, "ssm", "parameter/${trimprefix(name, "/")}")
  ])
  codeartifact = [
    for index in var.indexes : {
      arn        = "arn:${local.partition}:codeartifact:${local.region}:${split("/", trimprefix(index.password, "codeartifact:"))[0]}"
      domain     = split("/", trimprefix(index.password, "codeartifact:"))[1]
      repository = split("/", split("/pypi/", index.url)[1])[0]
    } if startswith(coalesce(index.password, "-"), "codeartifact:")
  ]

  tagged = var.function_tag != null ? [var.function_tag] : []

  statements = concat(
    [for each in [
      merge({
        Sid    = "DeployFunctions"
        Effect = "Allow"
        Action = concat(
          var.function_tag == null ? ["lambda:GetFunction", "lambda:ListTags", "lambda:CreateFunction"] : [],
          [
            "lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration", "lambda:PublishVersion", "lambda:GetAlias",
            "lambda:CreateAlias", "lambda:UpdateAlias", "lambda:TagResource", "lambda:ListVersionsByFunction",
            "lambda:ListAliases", "lambda:DeleteFunction", "lambda:InvokeFunction", "lambda:GetFunctionUrlConfig",
            "lambda:CreateFunctionUrlConfig", "lambda:UpdateFunctionUrlConfig", "lambda:GetPolicy", "lambda:AddPermission",
            "lambda:RemovePermission", "lambda:GetFunctionConcurrency", "lambda:PutFunctionConcurrency",
            "lambda:GetFunctionEventInvokeConfig", "lambda:UpdateFunctionEventInvokeConfig",
            "lambda:PutFunctionEventInvokeConfig", "lambda:GetRuntimeManagementConfig", "lambda:PutRuntimeManagementConfig",
        ])
        Resource = local.function_arns
      }, { for each in local.tagged : "Condition" => { StringEquals = { "aws:ResourceTag/${each.name}" = each.value } } }),
    ] : each if length(var.functions) > 0],
    flatten([for each in local.tagged : [
      {
        Sid       = "LookAtFunctions"
        Effect    = "Allow"
        Action    = ["lambda:GetFunction", "lambda:ListTags"]
        Resource  = local.function_arns
        Condition = { StringEqualsIfExists = { "aws:ResourceTag/${each.name}" = each.value } }
      },
      {
        Sid       = "CreateFunctions"
        Effect    = "Allow"
        Action    = ["lambda:CreateFunction", "lambda:TagResource"]
        Resource  = local.function_arns
        Condition = { StringEquals = { "aws:RequestTag/${each.name}" = each.value } }
      },
    ] if length(var.functions) > 0]),
    length(var.code_signing) * length(var.functions) == 0 ? [] : [{
      Sid       = "SignCode"
      Effect    = "Allow"
      Action    = ["lambda:GetFunctionCodeSigningConfig", "lambda:PutFunctionCodeSigningConfig"]
      Resource  = local.function_arns
      Condition = { ArnLikeIfExists = { "lambda:CodeSigningConfigArn" = var.code_signing } }
    }],
    [for each in [
      {
        Sid      = "PublishLayers"
        Effect   = "Allow"
        Action   = ["lambda:PublishLayerVersion", "lambda:DeleteLayerVersion"]
        Resource = [for name in local.layer_names : format(local.lambda, "layer:${name}")]
      },
      { Sid = "KeepLogs", Effect = "Allow", Action = ["logs:CreateLogGroup", "logs:PutRetentionPolicy"], Resource = local.log_groups },
      {
        Sid      = "LookAtStacks"
        Effect   = "Allow"
        Action   = ["cloudformation:ListStackResources"]
        Resource = ["arn:${local.partition}:cloudformation:${local.region}:${local.account}:stack/*"]
      },
    ] : each if length(var.functions) > 0],
    [
      { Sid = "RemoveNoFunction", Effect = "Deny", Action = ["lambda:DeleteFunction"], NotResource = [format(local.lambda, "function:*:*")] },
      {
        Sid       = "LetNobodyElseIn"
        Effect    = "Deny"
        Action    = ["lambda:AddPermission"]
        Resource  = [format(local.lambda, "function:*")]
        Condition = { StringNotEquals = { "lambda:Principal" = "*" } }
      },
      {
        Sid       = "LetNobodyIntoIamUrls"
        Effect    = "Deny"
        Action    = ["lambda:AddPermission"]
        Resource  = [format(local.lambda, "function:*")]
        Condition = { StringEquals = { "lambda:FunctionUrlAuthType" = "AWS_IAM" } }
      },
      {
        Sid      = "LookThroughAccount"
        Effect   = "Allow"
        Action   = ["lambda:ListLayers", "lambda:ListLayerVersions", "lambda:GetAccountSettings"]
        Resource = ["*"]
      },
      { Sid = "GoOnInAnotherInvocation", Effect = "Allow", Action = ["lambda:InvokeFunction"], Resource = [local.function_arn] },
      {
        Sid       = "NeverChangeItself"
        Effect    = "Deny"
        NotAction = ["lambda:GetFunction", "lambda:GetFunctionConfiguration", "lambda:InvokeFunction"]
        Resource  = flatten([for name in local.own_functions : [for end in ["", ":*"] : format(local.lambda, "function:${name}${end}")]])
      },
      {
        Sid       = "NeverChangeBuilders"
        Effect    = "Deny"
        NotAction = ["lambda:GetFunction", "lambda:GetFunctionConfiguration", "lambda:InvokeFunction"]
        Resource  = [format(local.lambda, "function:*")]
        Condition = { Null = { "aws:ResourceTag/lambdasmith:owner" = "false" } }
      },
      { Sid = "NeverChangeItsLayer", Effect = "Deny", NotAction = ["lambda:GetLayerVersion", "lambda:ListLayerVersions"], Resource = [local.layer_arn, "${local.layer_arn}:*"] },
      {
        Sid       = "NeverChangeItsLogs"
        Effect    = "Deny"
        NotAction = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogGroups"]
        Resource  = flatten([for name in local.own_functions : [for end in ["", ":*"] : format(local.logs, "log-group:/aws/lambda/${name}${end}")]])
      },
      { Sid = "NeverGiveItsRoles", Effect = "Deny", Action = ["iam:PassRole"], Resource = local.own_role_arns },
      { Sid = "ReadLayers", Effect = "Allow", Action = ["lambda:GetLayerVersion"], Resource = ["arn:${local.partition}:lambda:${local.region}:*:layer:*"] },
      {
        Sid      = "KeepBuilds"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"]
        Resource = ["${local.store}/${local.prefix}*"]
      },
    ],
    !var.fan_out ? [] : [
      { Sid = "FanOut", Effect = "Allow", Action = ["states:StartExecution"], Resource = [local.machine_arn] },
      {
        Sid      = "FollowFanOut"
        Effect   = "Allow"
        Action   = ["states:DescribeExecution", "states:ListMapRuns", "states:StopExecution"]
        Resource = ["${local.executions}:*"]
      },
      { Sid = "CountParts", Effect = "Allow", Action = ["states:DescribeMapRun"], Resource = [format(local.here, "states", "mapRun:${local.machine}/*")] },
    ],
    [
      { Sid = "GiveLeasesBack", Effect = "Allow", Action = ["s3:DeleteObject"], Resource = ["${local.store}/${local.prefix}leases/*"] },
      {
        Sid       = "ListBuilds"
        Effect    = "Allow"
        Action    = ["s3:ListBucket"]
        Resource  = [local.store]
        Condition = { StringLikeIfExists = { "s3:prefix" = "${local.prefix}*" } }
      },
      { Sid = "ReadGitToken", Effect = "Allow", Action = ["secretsmanager:GetSecretValue"], Resource = [format(local.here, "secretsmanager", "secret:${local.git_secret}-??????")] },
      { Sid = "WriteLogs", Effect = "Allow", Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = [format(local.logs, "log-group:${local.log_group}:*")] },
    ],
    [{ Sid = "ListLogGroups", Effect = "Allow", Action = ["logs:DescribeLogGroups"], Resource = [format(local.logs, "log-group:*")] }],
    length(local.passed_roles) == 0 ? [] : [{
      Sid       = "GiveRolesToFunctions"
      Effect    = "Allow"
      Action    = ["iam:PassRole"]
      Resource  = local.passed_roles
      Condition = { StringEquals = { "iam:PassedToService" = "lambda.amazonaws.com" } }
    }],
    local.reading_secrets,
  )

  reading_secrets = concat(
    length(local.secret_arns) == 0 ? [] : [{ Sid = "ReadSecrets", Effect = "Allow", Action = ["secretsmanager:GetSecretValue"], Resource = local.secret_arns }],
    length(local.parameter_arns) == 0 ? [] : [{ Sid = "ReadParameters", Effect = "Allow", Action = ["ssm:GetParameter"], Resource = local.parameter_arns }],
    [for each in [
      {
        Sid      = "LogIntoCodeArtifact"
        Effect   = "Allow"
        Action   = ["codeartifact:GetAuthorizationToken"]
        Resource = distinct([for each in local.codeartifact : "${each.arn}:domain/${each.domain}"])
      },
      {
        Sid      = "ReadCodeArtifact"
        Effect   = "Allow"
        Action   = ["codeartifact:ReadFromRepository"]
        Resource = distinct([for each in local.codeartifact : "${each.arn}:repository/${each.domain}/${each.repository}"])
      },
      {
        Sid       = "GetCodeArtifactsPassword"
        Effect    = "Allow"
        Action    = ["sts:GetServiceBearerToken"]
        Resource  = ["*"]
        Condition = { StringEquals = { "sts:AWSServiceName" = "codeartifact.amazonaws.com" } }
      },
    ] : each if length(local.codeartifact) > 0],
  )

  # What makes the builder's own layer. Only Terraform, and whoever may invoke it, uses this: its power is that of the builder.
  setup_log_group = "/aws/lambda/${var.name}-setup"
  setup_statements = concat(
    [
      { Sid = "PublishItsLayer", Effect = "Allow", Action = ["lambda:PublishLayerVersion"], Resource = [local.layer_arn] },
      { Sid = "RemoveItsLayer", Effect = "Allow", Action = ["lambda:GetLayerVersion", "lambda:DeleteLayerVersion"], Resource = ["${local.layer_arn}:*"] },
      { Sid = "ListItsLayer", Effect = "Allow", Action = ["lambda:ListLayerVersions"], Resource = ["*"] },
      {
        Sid      = "KeepLayer"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject"]
        Resource = ["${local.store}/${local.prefix}*"]
      },
      {
        Sid       = "ListBuilds"
        Effect    = "Allow"
        Action    = ["s3:ListBucket"]
        Resource  = [local.store]
        Condition = { StringLikeIfExists = { "s3:prefix" = "${local.prefix}*" } }
      },
      { Sid = "WriteLogs", Effect = "Allow", Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = [format(local.logs, "log-group:${local.setup_log_group}:*")] },
    ],
    local.reading_secrets,
  )

  # As in bootstrap/lifecycle.py, in days; a test compares the two.
  folders = {
    # A day more, since builds renew what they use once a day.
    artifacts = {
      expire = var.expire_days > 0 ? var.expire_days + 1 : null
      forget = var.expire_days > 0 ? var.expire_days + 1 : null
      rest   = var.expire_days == 0 || var.expire_days >= 30 ? 30 : null
    }
    components   = { expire = null, forget = 30, rest = null }
    layers       = { expire = null, forget = 30, rest = null }
    locks        = { expire = null, forget = 30, rest = null }
    pinned       = { expire = null, forget = 30, rest = null }
    built        = { expire = 180, forget = 1, rest = null }
    parts        = { expire = null, forget = 1, rest = 30 }
    natives      = { expire = null, forget = 1, rest = null }
    checks       = { expire = 180, forget = 1, rest = null }
    deployed     = { expire = null, forget = 1, rest = null }
    borrowed     = { expire = null, forget = 1, rest = null }
    leases       = { expire = null, forget = 1, rest = null }
    builds       = { expire = null, forget = 1, rest = null }
    records      = { expire = null, forget = 30, rest = null }
    projects     = { expire = null, forget = 30, rest = null }
    repositories = { expire = null, forget = 1, rest = null }
    recent       = { expire = 90, forget = 1, rest = null }
    uploads      = { expire = 7, forget = 1, rest = null }
    sources      = { expire = null, forget = 1, rest = null }
    toolchains   = { expire = 180, forget = 1, rest = null }
    caches       = { expire = 30, forget = 1, rest = null }
    stacks       = { expire = null, forget = 1, rest = null }
    baselines    = { expire = null, forget = 1, rest = null }
    vouched      = { expire = null, forget = 30, rest = null }
    domains      = { expire = 180, forget = 1, rest = null }
    fanout       = { expire = 7, forget = 1, rest = null }
    orders       = { expire = 1, forget = 1, rest = null }
  }
}

# --- the store ---------------------------------------------------------------------------------------------------

resource "aws_s3_bucket" "store" {
  count         = var.bucket == null ? 1 : 0
  bucket        = local.own_bucket
  force_destroy = var.force_destroy
  tags          = var.tags

  lifecycle {
    precondition {
      condition     = length(local.own_bucket) <= 63
      error_message = "${local.own_bucket} is too long for a bucket; choose a shorter name, or name a bucket of your own."
    }
  }
}

resource "aws_s3_bucket_versioning" "store" {
  count  = length(aws_s3_bucket.store)
  bucket = aws_s3_bucket.store[0].id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "store" {
  count  = length(aws_s3_bucket.store)
  bucket = aws_s3_bucket.store[0].id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_public_access_block" "store" {
  count                   = length(aws_s3_bucket.store)
  bucket                  = aws_s3_bucket.store[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_lifecycle_configuration" "store" {
  count  = var.lifecycle_rules ? length(aws_s3_bucket.store) : 0
  bucket = aws_s3_bucket_versioning.store[0].bucket

  rule {
    id     = "lambdasmith ${var.name} unfinished"
    status = "Enabled"

    filter {
      prefix = local.prefix
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  dynamic "rule" {
    for_each = local.folders

    content {
      id     = "lambdasmith ${var.name} ${rule.key}"
      status = "Enabled"

      filter {
        prefix = "${local.prefix}${rule.key}/"
      }
      dynamic "expiration" {
        for_each = rule.value.expire != null || rule.value.forget != null ? [rule.value.expire] : []
        content {
          days                         = expiration.value
          expired_object_delete_marker = expiration.value == null ? true : null
        }
      }
      dynamic "noncurrent_version_expiration" {
        for_each = rule.value.forget != null ? [rule.value.forget] : []
        content {
          noncurrent_days = noncurrent_version_expiration.value
        }
      }
      dynamic "transition" {
        for_each = rule.value.rest != null ? [rule.value.rest] : []
        content {
          days          = transition.value
          storage_class = "INTELLIGENT_TIERING"
        }
      }
    }
  }
}

# --- the function ------------------------------------------------------------------------------------------------

resource "aws_iam_role" "builder" {
  name                 = local.own_role_names[0]
  permissions_boundary = var.permissions_boundary
  description          = "What the builder ${var.name} may do"
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "lambda.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_iam_role_policy" "builder" {
  name   = "lambdasmith"
  role   = aws_iam_role.builder.id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.statements })
}

resource "aws_cloudwatch_log_group" "builder" {
  name              = local.log_group
  retention_in_days = var.log_retention
  tags              = var.tags
}

# boto3 and pip, which is all that `setup` needs to make the builder's own layer.
resource "aws_lambda_layer_version" "starter" {
  layer_name          = local.layer
  description         = "lambdasmith starter layer"
  filename            = "${var.package_dir}/starter.zip"
  source_code_hash    = filebase64sha256("${var.package_dir}/starter.zip")
  compatible_runtimes = [local.runtime]

  lifecycle {
    create_before_destroy = true
  }
}

# The layer that a builder has made for one runtime cannot be loaded by another: the function begins anew then.
resource "terraform_data" "platform" {
  input = "${local.runtime} ${var.architecture}"
}

resource "aws_lambda_function" "builder" {
  function_name    = var.name
  description      = "Lambdasmith: builds and deploys Lambda functions"
  role             = aws_iam_role.builder.arn
  handler          = "builder.handler.handler"
  runtime          = local.runtime
  architectures    = [var.architecture]
  memory_size      = var.memory
  timeout          = var.timeout
  filename         = "${var.package_dir}/builder.zip"
  source_code_hash = local.code_hash
  layers           = [jsondecode(aws_lambda_invocation.setup.result).layer.arn]
  tags             = local.builder_tags

  ephemeral_storage {
    size = var.ephemeral_storage
  }
  environment {
    variables = merge(var.environment, { for name, value in local.settings : "LAMBDASMITH_${name}" => value if value != null && value != "" })
  }

  depends_on = [
    aws_iam_role_policy.builder,
    aws_cloudwatch_log_group.builder,
    aws_s3_bucket_versioning.store,
    aws_s3_bucket_server_side_encryption_configuration.store,
    aws_s3_bucket_public_access_block.store,
  ]

  lifecycle {
    replace_triggered_by = [terraform_data.platform]

    precondition {
      condition     = local.code_hash == local.package.code_sha256 && filebase64sha256("${var.package_dir}/starter.zip") == local.package.starter_sha256
      error_message = "The files in ${var.package_dir} do not belong together: run `python setup.py package ${var.package_dir}` again."
    }
  }
}

# A build that Lambda repeated by itself would be built twice.
resource "aws_lambda_function_event_invoke_config" "builder" {
  function_name          = aws_lambda_function.builder.function_name
  maximum_retry_attempts = 0
}

# --- the function that makes the builder's layer -----------------------------------------------------------------

resource "aws_iam_role" "setup" {
  name                 = local.own_role_names[2]
  permissions_boundary = var.permissions_boundary
  description          = "What makes the layer of the builder ${var.name} may do"
  tags                 = var.tags

  assume_role_policy = aws_iam_role.builder.assume_role_policy
}

resource "aws_iam_role_policy" "setup" {
  name   = "lambdasmith"
  role   = aws_iam_role.setup.id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.setup_statements })
}

resource "aws_cloudwatch_log_group" "setup" {
  name              = local.setup_log_group
  retention_in_days = var.log_retention
  tags              = var.tags
}

resource "aws_lambda_function" "setup" {
  function_name    = "${var.name}-setup"
  description      = "Lambdasmith: makes the layer of ${var.name}"
  role             = aws_iam_role.setup.arn
  handler          = "builder.handler.handler"
  runtime          = local.runtime
  architectures    = [var.architecture]
  memory_size      = var.memory
  timeout          = var.timeout
  filename         = "${var.package_dir}/builder.zip"
  source_code_hash = local.code_hash
  layers           = [aws_lambda_layer_version.starter.arn]
  tags             = local.builder_tags

  ephemeral_storage {
    size = var.ephemeral_storage
  }
  environment {
    variables = merge(var.environment, {
      for name, value in local.settings : "LAMBDASMITH_${name}" => value
      if value != null && value != "" && contains(["BUCKET", "PREFIX", "LAYER", "INDEX_URL", "CREDENTIALS"], name)
    })
  }

  depends_on = [
    aws_iam_role_policy.setup,
    aws_cloudwatch_log_group.setup,
    aws_s3_bucket_versioning.store,
    aws_s3_bucket_public_access_block.store,
    aws_s3_bucket_server_side_encryption_configuration.store,
  ]

  lifecycle {
    precondition {
      condition     = local.code_hash == local.package.code_sha256 && filebase64sha256("${var.package_dir}/starter.zip") == local.package.starter_sha256
      error_message = "The files in ${var.package_dir} do not belong together: run `python setup.py package ${var.package_dir}` again."
    }
  }
}

resource "aws_lambda_invocation" "setup" {
  function_name = aws_lambda_function.setup.function_name
  input         = jsonencode({ action = "setup", publish_only = true, on_error = "raise", reply = ["layer"] })

  lifecycle {
    replace_triggered_by = [aws_lambda_function.setup]
  }
}

# Never updated: there for `destroy`, which removes the layer versions that were made.
resource "aws_lambda_invocation" "own_layer" {
  function_name   = aws_lambda_function.setup.function_name
  input           = jsonencode({ action = "setup", publish_only = true, reply = ["layer"] })
  lifecycle_scope = "CRUD"

  depends_on = [aws_lambda_invocation.setup]
}

# --- many functions at a time ------------------------------------------------------------------------------------

resource "aws_iam_role" "machine" {
  count                = var.fan_out ? 1 : 0
  name                 = length(local.machine_role) <= 64 ? local.machine_role : "${substr(local.machine_role, 0, 55)}-${substr(sha256(local.machine_role), 0, 8)}"
  permissions_boundary = var.permissions_boundary
  description          = "What the state machine of the builder ${var.name} may do"
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "states.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_iam_role_policy" "machine" {
  count = var.fan_out ? 1 : 0
  name  = "lambdasmith"
  role  = aws_iam_role.machine[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Sid = "InvokeBuilder", Effect = "Allow", Action = ["lambda:InvokeFunction"], Resource = [local.function_arn] },
      { Sid = "ReadItems", Effect = "Allow", Action = ["s3:GetObject"], Resource = ["${local.store}/${local.prefix}fanout/*"] },
      { Sid = "RunParts", Effect = "Allow", Action = ["states:StartExecution"], Resource = [local.machine_arn] },
      {
        Sid      = "FollowParts"
        Effect   = "Allow"
        Action   = ["states:DescribeExecution", "states:StopExecution"]
        Resource = ["${local.executions}:*", "${local.executions}/*"]
      },
    ]
  })
}

resource "aws_sfn_state_machine" "fan_out" {
  count    = var.fan_out ? 1 : 0
  name     = local.machine
  role_arn = aws_iam_role.machine[0].arn
  tags     = local.builder_tags

  definition = templatefile("${var.package_dir}/fan_out.asl.json", {
    builder     = var.name
    builder_arn = local.function_arn
    partition   = local.partition
    concurrency = var.fan_out_concurrency
  })

  depends_on = [aws_iam_role_policy.machine]
}
