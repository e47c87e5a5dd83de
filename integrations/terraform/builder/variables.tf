variable "package_dir" {
  description = "The directory that `python setup.py package OUT` has written: builder.zip, starter.zip and package.json."
  type        = string
  nullable    = false

  validation {
    condition     = alltrue([for name in ["builder.zip", "starter.zip", "package.json"] : fileexists("${var.package_dir}/${name}")])
    error_message = "The directory has no builder.zip, starter.zip and package.json: run `python setup.py package OUT` in a checkout of Lambdasmith, and name OUT here."
  }
}

variable "name" {
  description = "Name of the builder function. Its role, layer, log group and prefix in the bucket are named after it."
  type        = string
  default     = "lambdasmith"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,57}$", var.name))
    error_message = "The name must be 1 to 57 of A-Z a-z 0-9 - _: NAME-worker and NAME-setup are names of functions, too."
  }
}

variable "bucket" {
  description = "An existing bucket to keep builds in, below NAME/. Null: one is made, NAME-ACCOUNT-REGION; versioned, encrypted, not public."
  type        = string
  default     = null

  validation {
    condition     = var.bucket == null || can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "The bucket must be a name of 3 to 63 of a-z 0-9 . and -."
  }
}

variable "force_destroy" {
  description = "Let `terraform destroy` delete the bucket that was made with all the builds in it."
  type        = bool
  default     = false
  nullable    = false
}

variable "lifecycle_rules" {
  description = "Let S3 remove objects that can be made again, and old versions, from the bucket that this module makes. Creating the rules takes the provider about a minute, once."
  type        = bool
  default     = true
  nullable    = false
}

variable "runtime" {
  description = "The builder's Python runtime. Null: the one that the package was made for."
  type        = string
  default     = null

  validation {
    condition     = var.runtime == null || can(regex("^python3\\.1[1-9]$", var.runtime))
    error_message = "The builder runs on python3.11 or newer."
  }
}

variable "architecture" {
  description = "The builder's architecture, x86_64 or arm64."
  type        = string
  default     = "x86_64"
  nullable    = false

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "The architecture must be x86_64 or arm64."
  }
}

variable "memory" {
  description = "The builder's memory in MB; more memory is also more processor."
  type        = number
  default     = 2048
  nullable    = false

  validation {
    condition     = var.memory >= 128 && var.memory <= 10240
    error_message = "The memory must be from 128 to 10240 MB."
  }
}

variable "timeout" {
  description = "The builder's time limit in seconds; Terraform waits for every build, 900 is Lambda's limit."
  type        = number
  default     = 900
  nullable    = false

  validation {
    condition     = var.timeout >= 1 && var.timeout <= 900
    error_message = "The timeout must be from 1 to 900 seconds."
  }
}

variable "ephemeral_storage" {
  description = "MB of the builder's /tmp."
  type        = number
  default     = 2048
  nullable    = false

  validation {
    condition     = var.ephemeral_storage >= 512 && var.ephemeral_storage <= 10240
    error_message = "The ephemeral storage must be from 512 to 10240 MB."
  }
}

variable "functions" {
  description = "Names or patterns of the functions that the builder may deploy by itself (deploy.sh). Functions that Terraform deploys need not be listed; without any, the builder may only package."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for name in var.functions : can(regex("^[A-Za-z0-9_*?-]+$", name))])
    error_message = "Each must be a function's name or a pattern of names."
  }
}

variable "archive_caches" {
  description = "Names or patterns of functions whose archives may keep compilers' caches and wheels of sources. Anyone who may invoke the builder may send an archive for them."
  type        = list(string)
  default     = []
}

variable "role" {
  description = "ARN of the role that a function gets when the builder creates it and its build file names none."
  type        = string
  default     = null

  validation {
    condition     = var.role == null || can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/", var.role))
    error_message = "The role must be the ARN of a role."
  }
}

variable "roles" {
  description = "ARNs or patterns of further roles that build files may name."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for role in var.roles : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/", role))])
    error_message = "Each must be the ARN of a role, or a pattern of ARNs."
  }
}

variable "permissions_boundary" {
  description = "ARN of a policy that is the permissions boundary of the builder's roles."
  type        = string
  default     = null
}

variable "function_tag" {
  description = "A tag that functions must have for the builder to deploy them, and get when it creates them."
  type        = object({ name = string, value = string })
  default     = null
}

variable "code_signing" {
  description = "ARNs of the code signing configurations that build files may name."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "status" {
  description = "all: `status` lists the last builds of all functions. function: only those of the function that is asked for."
  type        = string
  default     = "all"
  nullable    = false

  validation {
    condition     = contains(["all", "function"], var.status)
    error_message = "Status is all or function."
  }
}

variable "expire_days" {
  description = "Days after the last build that used it until S3 removes an artifact; 0 keeps all."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.expire_days >= 0 && floor(var.expire_days) == var.expire_days
    error_message = "Days are a whole number; 0 keeps all artifacts."
  }
}

variable "fan_out" {
  description = "Let a Step Functions state machine have many functions of a project made at a time (docs/scale.md)."
  type        = bool
  default     = false
  nullable    = false
}

variable "fan_out_from" {
  description = "From so many functions that differ, with fan_out."
  type        = number
  default     = 8
  nullable    = false

  validation {
    condition     = var.fan_out_from >= 2 && var.fan_out_from <= 10000 && floor(var.fan_out_from) == var.fan_out_from
    error_message = "fan_out_from is a whole number from 2 to 10000."
  }
}

variable "fan_out_concurrency" {
  description = "How many invocations of the builder run at a time, with fan_out."
  type        = number
  default     = 20
  nullable    = false

  validation {
    condition     = var.fan_out_concurrency >= 1 && var.fan_out_concurrency <= 1000 && floor(var.fan_out_concurrency) == var.fan_out_concurrency
    error_message = "fan_out_concurrency is a whole number from 1 to 1000."
  }
}

variable "git_base" {
  description = "URL that plain repository names are appended to, for example https://github.com/OWNER."
  type        = string
  default     = null

  validation {
    condition     = var.git_base == null || can(regex("^https?://[^@[:space:]]+$", var.git_base))
    error_message = "git_base must be a URL without credentials."
  }
}

variable "git_username" {
  description = "Owner of repositories that are named without one."
  type        = string
  default     = null

  validation {
    condition     = var.git_username == null || can(regex("^[A-Za-z0-9_.@-]+$", var.git_username))
    error_message = "git_username is no user name."
  }
}

variable "git_hosts" {
  description = "Hosts that submodules and redirects may lead to, besides those that there are logins for."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for host in var.git_hosts : can(regex("^[a-z0-9.-]+(:[0-9]{1,5})?$", host))])
    error_message = "Each must be a host, as in git.example.org."
  }
}

variable "git_secret" {
  description = "Name of a Secrets Manager secret {\"username\", \"token\", \"email\"} for private repositories. Make it outside of Terraform, so that no token is in its state."
  type        = string
  default     = null

  validation {
    condition     = var.git_secret == null || can(regex("^[A-Za-z0-9/_+=.@-]{1,512}$", var.git_secret))
    error_message = "git_secret must be the name of a secret, not its ARN and not its value."
  }
}

variable "index_url" {
  description = "Package index of all builds, without credentials. Null: PyPI."
  type        = string
  default     = null

  validation {
    condition     = var.index_url == null || can(regex("^https?://[^@[:space:]]+$", var.index_url))
    error_message = "index_url must be a URL without credentials; a login goes into `indexes`."
  }
}

variable "go_proxy" {
  description = "Go module proxies, as GOPROXY has them. Null: Go's own default."
  type        = string
  default     = null

  validation {
    condition     = var.go_proxy == null || !can(regex("@|[[:space:]]", var.go_proxy))
    error_message = "go_proxy has no credentials and no blanks; a login goes into `indexes`."
  }
}

variable "npm_registry" {
  description = "npm registry, and those of scopes: https://npm.example.com, @corp=https://corp.example.com. Null: npm's default."
  type        = string
  default     = null

  validation {
    condition     = var.npm_registry == null || !can(regex("//[^/,]*@", var.npm_registry))
    error_message = "npm_registry has no credentials; a login goes into `indexes`."
  }
}

variable "ca_bundle" {
  description = "Certificate authorities to trust for servers (git, indexes, …) in addition to the system's: PEM text of up to 3 KB, or /opt/FILE of a layer."
  type        = string
  default     = null

  validation {
    condition     = var.ca_bundle == null || can(regex("^(/opt/|-----BEGIN CERTIFICATE-----)", var.ca_bundle))
    error_message = "ca_bundle must be PEM text or a path below /opt."
  }
}

variable "git_logins" {
  description = "Logins of further forges: base is a URL; token and private_key are references such as secretsmanager:NAME#KEY or ssm:NAME, never values; modules are paths of Go modules there, separated by blanks."
  type = list(object({
    base            = string
    username        = optional(string)
    token           = optional(string)
    app_id          = optional(string)
    installation_id = optional(string)
    private_key     = optional(string)
    modules         = optional(string)
  }))
  default  = []
  nullable = false

  validation {
    condition = alltrue([
      for login in var.git_logins : alltrue([
        for value in [login.token, login.private_key] : value == null || can(regex("^(secretsmanager|ssm):", value))
      ])
    ])
    error_message = "token and private_key must be references (secretsmanager:NAME#KEY or ssm:NAME), never the secret itself."
  }
}

variable "indexes" {
  description = "Logins of package indexes, Go proxies and npm registries: password or token is a reference; password codeartifact:ACCOUNT/DOMAIN is for CodeArtifact by the builder's role. only: patterns of normalised names, separated by blanks, that come from here alone."
  type = list(object({
    name     = string
    url      = string
    username = optional(string)
    password = optional(string)
    token    = optional(string)
    only     = optional(string)
  }))
  default  = []
  nullable = false

  validation {
    condition = alltrue(flatten([
      for index in var.indexes : [
        for value in [index.password, index.token] : value == null || can(regex("^(secretsmanager|ssm|codeartifact):", value))
      ]
    ]))
    error_message = "password and token must be references (secretsmanager:NAME#KEY, ssm:NAME or codeartifact:ACCOUNT/DOMAIN), never the secret itself."
  }
}

variable "projects" {
  description = "Which secrets build files may name for their commands: patterns of references, by a pattern of repositories (github.com/team/*) or functions (shop-*)."
  type = list(object({
    pattern = string
    allow   = list(string)
  }))
  default  = []
  nullable = false

  validation {
    condition     = alltrue(flatten([for project in var.projects : [for place in project.allow : can(regex("^(secretsmanager|ssm):", place))]]))
    error_message = "allow must have references, such as secretsmanager:team/* or ssm:/team/*."
  }
}

variable "toolchains" {
  description = "Compilers and tools from elsewhere that build files may name: an archive by its URL and sha256; strip leading parts of its paths, path are directories with programs."
  type = list(object({
    name   = string
    url    = string
    sha256 = string
    strip  = optional(number, 0)
    path   = optional(list(string), ["bin"])
  }))
  default  = []
  nullable = false

  validation {
    condition     = alltrue([for tool in var.toolchains : can(regex("^[0-9a-f]{64}$", tool.sha256)) && startswith(tool.url, "https://")])
    error_message = "A toolchain has an https URL and a sha256 of 64 hexadecimal digits."
  }
}

variable "environment" {
  description = "Further environment variables of the builder, for example a proxy."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.environment) : !startswith(name, "LAMBDASMITH_")])
    error_message = "LAMBDASMITH_… is set by the module's own variables."
  }
}

variable "log_retention" {
  description = "Days that the builder's log is kept; 0 for ever."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = contains([0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention)
    error_message = "CloudWatch Logs knows 0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 and 3653 days."
  }
}

variable "tags" {
  description = "Tags of everything that can have some."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = !contains(keys(var.tags), "lambdasmith:owner")
    error_message = "lambdasmith:owner marks what setup.py has made; what Terraform has made is not for setup.py to change."
  }
}
