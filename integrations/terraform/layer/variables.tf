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
  description = "Begins the names of the layer versions, NAME-LAYER; nothing else that the builder makes may have it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,64}$", var.name))
    error_message = "The name must be 1 to 64 of A-Z a-z 0-9 - _."
  }
}

variable "project" {
  description = "`module.NAME` of the module project, where something else has sent the project already; null: this module does."
  type = object({
    request    = any
    is_local   = bool
    hash       = string
    layer_hash = string
    layers     = list(string)
    spec       = any
  })
  default = null
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

variable "architecture" {
  description = "x86_64 or arm64. Null: the build file's value, or else the builder's."
  type        = string
  default     = null

  validation {
    condition     = var.architecture == null || contains(["x86_64", "arm64"], coalesce(var.architecture, "-"))
    error_message = "The architecture must be x86_64 or arm64."
  }
}

variable "keep_versions" {
  description = "Leave superseded layer versions in the account, also after destroy."
  type        = bool
  default     = false
  nullable    = false
}

variable "triggers" {
  description = "Any change here starts another build, for example a date to get newer versions of unpinned requirements."
  type        = map(string)
  default     = {}
  nullable    = false
}
