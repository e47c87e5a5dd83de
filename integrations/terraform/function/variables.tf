variable "builder" {
  description = "The builder: `module.NAME` of the module builder (set up by Terraform) or installed (set up by setup.py)."
  type = object({
    function_name = string
    bucket        = string
    prefix        = string
    architecture  = string
    version       = string
    fingerprint   = string
  })
  nullable = false

  validation {
    condition     = can(regex("^$|/$", var.builder.prefix))
    error_message = "The builder's prefix must end with a slash."
  }
}

variable "name" {
  description = "Name of the function."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,64}$", var.name))
    error_message = "The name must be 1 to 64 of A-Z a-z 0-9 - _."
  }
}

variable "source_dir" {
  description = "Directory of the project on this machine; its files are sent to the builder's bucket. Null: the project comes from git."
  type        = string
  default     = null
}

variable "repo" {
  description = "Git repository, https URL or OWNER/NAME, instead of source_dir."
  type        = string
  default     = null

  validation {
    condition     = var.repo == null || can(regex("^(https?://[^@[:space:]]+|[A-Za-z0-9._/-]+)$", var.repo))
    error_message = "repo must be an https URL without credentials, or OWNER/NAME."
  }
}

variable "ref" {
  description = "Branch, tag or commit of repo. Terraform does not see that a branch has moved: name a commit or tag, and change it to deploy."
  type        = string
  default     = null

  validation {
    condition     = var.ref == null || can(regex("^[^-[:space:]][^[:space:]]{0,254}$", var.ref))
    error_message = "ref must be the name of a branch or tag, or a commit."
  }
}

variable "path" {
  description = "The project's directory below source_dir or in repo; empty for the top."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = !can(regex("^/|(^|/)\\.\\.(/|$)", var.path))
    error_message = "path must be relative and stay inside."
  }
}

variable "build_file" {
  description = "Name of the build file. Null: build.yaml, build.yml or build.json."
  type        = string
  default     = null

  validation {
    condition     = var.build_file == null || can(regex("^[^/\\\\]{1,200}\\.(ya?ml|json)$", var.build_file))
    error_message = "build_file must be the name of a .yaml, .yml or .json file."
  }
}

variable "exclude" {
  description = "Patterns of files and directories below source_dir that are not sent, besides those that no project wants (.env, .git …); ** stands for any directories."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for pattern in var.exclude : pattern != "" && !startswith(pattern, "/")])
    error_message = "Patterns are relative to source_dir and not empty."
  }
}

variable "ignore_files" {
  description = "Files at the top of source_dir whose lines, in gitignore's syntax, name more files that are not sent."
  type        = list(string)
  default     = [".gitignore", ".lambdaignore"]
  nullable    = false
}

variable "executable" {
  description = "Patterns of files below source_dir that are executable: Terraform cannot see that. Null: those that begin with #! or are ELF programs."
  type        = list(string)
  default     = null

  validation {
    condition     = alltrue([for pattern in coalesce(var.executable, []) : pattern != "" && !startswith(pattern, "/")])
    error_message = "Patterns are relative to source_dir and not empty."
  }
}

variable "layers" {
  description = "Names of the build file's layers, dependencies among them. Needed with repo, where Terraform does not see the build file; null with source_dir: all."
  type        = list(string)
  default     = null

  validation {
    condition     = alltrue([for name in coalesce(var.layers, []) : can(regex("^[A-Za-z0-9_-]{1,64}$", name))])
    error_message = "Each must be the name of a layer in the build file."
  }
}

variable "layer_inputs" {
  description = "Patterns of files below source_dir that layers are made of. Null: the files that the build file names for them, and files that look like requirements; all if a layer has preinstall."
  type        = list(string)
  default     = null

  validation {
    condition     = alltrue([for pattern in coalesce(var.layer_inputs, []) : pattern != "" && !startswith(pattern, "/")])
    error_message = "Patterns are relative to source_dir and not empty."
  }
}

variable "role" {
  description = "ARN of the function's role. Null: the build file's, or the one that policies and managed_policies make."
  type        = string
  default     = null

  validation {
    condition     = var.role == null || can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/", var.role))
    error_message = "The role must be the ARN of a role."
  }
}

variable "runtime" {
  description = "Runtime. Null: the first of the build file's, where Terraform sees it (source_dir); needed with repo."
  type        = string
  default     = null

  validation {
    condition     = var.runtime == null || can(regex("^(python|nodejs|provided|java|ruby|dotnet)", var.runtime))
    error_message = "The runtime must be one of Lambda's, as in python3.13."
  }
}

variable "handler" {
  description = "Handler. Null: the build file's value, where Terraform sees it (source_dir); needed with repo."
  type        = string
  default     = null

  validation {
    condition     = var.handler == null || can(regex("^[^[:space:]]{1,128}$", var.handler))
    error_message = "The handler must be 1 to 128 characters without blanks."
  }
}

variable "architecture" {
  description = "x86_64 or arm64. Null: the build file's value, or else the builder's."
  type        = string
  default     = null

  validation {
    condition     = var.architecture == null || contains(["x86_64", "arm64"], coalesce(var.architecture, "-"))
    error_message = "The architecture must be x86_64 or arm64."
  }
}

variable "memory" {
  description = "Memory in MB. Null: the build file's value, or else Lambda's 128."
  type        = number
  default     = null

  validation {
    condition     = var.memory == null || (coalesce(var.memory, 128) >= 128 && coalesce(var.memory, 128) <= 10240)
    error_message = "The memory must be from 128 to 10240 MB."
  }
}

variable "timeout" {
  description = "Time limit in seconds. Null: the build file's value, or else Lambda's 3."
  type        = number
  default     = null

  validation {
    condition     = var.timeout == null || (coalesce(var.timeout, 1) >= 1 && coalesce(var.timeout, 1) <= 900)
    error_message = "The timeout must be from 1 to 900 seconds."
  }
}

variable "ephemeral_storage" {
  description = "MB of /tmp. Null: the build file's value, or else Lambda's 512."
  type        = number
  default     = null

  validation {
    condition     = var.ephemeral_storage == null || (coalesce(var.ephemeral_storage, 512) >= 512 && coalesce(var.ephemeral_storage, 512) <= 10240)
    error_message = "The ephemeral storage must be from 512 to 10240 MB."
  }
}

variable "description" {
  description = "The function's description. Null: the build file's."
  type        = string
  default     = null

  validation {
    condition     = length(coalesce(var.description, "-")) <= 256
    error_message = "A description has at most 256 characters."
  }
}

variable "environment" {
  description = "Environment variables, added to those of the build file; the same name wins over it. They are in Terraform's state: name secrets, do not put them here."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.environment) : can(regex("^[A-Za-z][A-Za-z0-9_]+$", name))])
    error_message = "A variable's name is a letter, then letters, digits and _."
  }
}

variable "tags" {
  description = "Tags, added to those of the build file."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "extra_layers" {
  description = "ARNs of layer versions from elsewhere by any names, such as `module.NAME.arns` of the module layer: attached after the build file's own, in order of the names. The handler is then not tried before it is deployed, since it may need their content."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.extra_layers) : can(regex("^[A-Za-z0-9_-]{1,64}$", name))])
    error_message = "Names are 1 to 64 of A-Z a-z 0-9 - _."
  }
}

variable "alias" {
  description = "Publish a version with every change, and let this alias serve it. Null: $LATEST serves."
  type        = string
  default     = null

  validation {
    condition     = var.alias == null || can(regex("^[A-Za-z0-9_-]*[A-Za-z_-][A-Za-z0-9_-]*$", var.alias))
    error_message = "An alias is of A-Z a-z 0-9 _ -, and not only digits."
  }
}

variable "log_retention" {
  description = "Days that the log is kept, in a log group that this module makes. Null: the build file's value; without one, Lambda makes the group itself, and it stays."
  type        = number
  default     = null

  validation {
    condition     = var.log_retention == null || contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], coalesce(var.log_retention, 1))
    error_message = "CloudWatch Logs knows 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 and 3653 days."
  }
}

variable "vpc" {
  description = "Subnets and security groups. Null: the value in the build file, configuration.VpcConfig."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
  })
  default = null
}

variable "tracing" {
  description = "X-Ray: Active or PassThrough. Null: the value in the build file, configuration.TracingConfig."
  type        = string
  default     = null

  validation {
    condition     = var.tracing == null || contains(["Active", "PassThrough"], coalesce(var.tracing, "-"))
    error_message = "Tracing is Active or PassThrough."
  }
}

variable "reserved_concurrency" {
  description = "Reserved concurrent executions. Null: the build file's value, or else no limit."
  type        = number
  default     = null

  validation {
    condition     = coalesce(var.reserved_concurrency, 0) >= 0
    error_message = "Reserved concurrency is 0 or more."
  }
}

variable "dead_letter_arn" {
  description = "ARN of a queue or topic for events that failed. Null: the value in the build file, configuration.DeadLetterConfig."
  type        = string
  default     = null

  validation {
    condition     = var.dead_letter_arn == null || can(regex("^arn:[a-z-]+:(sqs|sns):", var.dead_letter_arn))
    error_message = "dead_letter_arn must be the ARN of a queue or topic."
  }
}

variable "kms_key_arn" {
  description = "ARN of the key that encrypts the environment. Null: the value in the build file, configuration.KMSKeyArn."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key."
  }
}

variable "timeouts" {
  description = "How long Terraform waits for Lambda, as in { create = \"15m\" }: a function in a VPC may take long."
  type = object({
    create = optional(string)
    update = optional(string)
    delete = optional(string)
  })
  default  = {}
  nullable = false
}

variable "policies" {
  description = "Policies as JSON, by name, of a role that this module makes for the function; {} for one that may only write logs."
  type        = map(string)
  default     = null
}

variable "managed_policies" {
  description = "ARNs of managed policies, by any names, of such a role. It has AWSLambdaBasicExecutionRole anyway, with the variable vpc AWSLambdaVPCAccessExecutionRole."
  type        = map(string)
  default     = null
}

variable "role_name" {
  description = "Name of such a role. Null: the function's, which a function of the same name in another region would want as well."
  type        = string
  default     = null

  validation {
    condition     = var.role_name == null || can(regex("^[A-Za-z0-9+=,.@_-]{1,64}$", var.role_name))
    error_message = "A role's name is 1 to 64 of A-Z a-z 0-9 + = , . @ _ -."
  }
}

variable "permissions_boundary" {
  description = "ARN of such a role's permissions boundary."
  type        = string
  default     = null
}

variable "url" {
  description = "An HTTPS address of the function, or of its alias, for callers that IAM allows; cors has Lambda's own names. Null: the build file's value, where Terraform sees it (source_dir)."
  type = object({
    invoke_mode = optional(string, "buffered")
    cors = optional(object({
      AllowCredentials = optional(bool)
      AllowHeaders     = optional(list(string))
      AllowMethods     = optional(list(string))
      AllowOrigins     = optional(list(string))
      ExposeHeaders    = optional(list(string))
      MaxAge           = optional(number)
    }))
  })
  default = null

  validation {
    condition     = contains(["buffered", "response_stream"], try(var.url.invoke_mode, "buffered"))
    error_message = "invoke_mode is buffered or response_stream."
  }
}

variable "logging_config" {
  description = "Format (Text or JSON) and levels of the log, and another log group than /aws/lambda/NAME. Null: the value in the build file, configuration.LoggingConfig."
  type = object({
    format            = optional(string, "JSON")
    application_level = optional(string)
    system_level      = optional(string)
    group             = optional(string)
  })
  default = null

  validation {
    condition     = contains(["Text", "JSON"], try(var.logging_config.format, "JSON"))
    error_message = "The format is Text or JSON."
  }
}

variable "snap_start" {
  description = "Whether published versions start from a snapshot. Null: the value in the build file, configuration.SnapStart."
  type        = bool
  default     = null
}

variable "file_systems" {
  description = "EFS access points and where they are mounted, below /mnt; with vpc. Null: the value in the build file, configuration.FileSystemConfigs."
  type = list(object({
    arn  = string
    path = string
  }))
  default = null

  validation {
    condition     = alltrue([for system in coalesce(var.file_systems, []) : can(regex("^/mnt/[A-Za-z0-9_.-]+$", system.path))])
    error_message = "A file system is mounted at /mnt/NAME."
  }
}

variable "code_signing_config_arn" {
  description = "ARN of a code signing configuration. Null: the value in the build file, configuration.CodeSigningConfigArn."
  type        = string
  default     = null

  validation {
    condition     = var.code_signing_config_arn == null || can(regex("^arn:[a-z-]+:lambda:[^:]+:[0-9]{12}:code-signing-config:", var.code_signing_config_arn))
    error_message = "code_signing_config_arn must be the ARN of a code signing configuration."
  }
}

variable "canary" {
  description = "The alias stays with the version `stable`, and the newest one gets `weight` of the traffic, between 0 and 1. Null: the newest gets all."
  type = object({
    stable = string
    weight = number
  })
  default = null

  validation {
    condition     = var.canary == null || (can(regex("^[0-9]+$", try(var.canary.stable, ""))) && try(var.canary.weight > 0 && var.canary.weight < 1, false))
    error_message = "stable is the number of a version, and weight is between 0 and 1."
  }
}

variable "keep_versions" {
  description = "Leave superseded layer versions in the account, also after destroy."
  type        = bool
  default     = false
  nullable    = false
}

variable "triggers" {
  description = "Any change here starts another build, for example a date to get newer versions of unpinned requirements, and sends the code again, which repairs code that was changed by hand."
  type        = map(string)
  default     = {}
  nullable    = false
}
