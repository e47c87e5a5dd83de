variable "builder" {
  description = "The builder: `module.NAME` of the module installed, or of the module builder once that is applied."
  type = object({
    function_name = string
  })
  nullable = false
}

variable "name" {
  description = "Name of the project. Layers are called NAME-LAYER; the functions have the names of the build file."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,64}$", var.name))
    error_message = "The name must be 1 to 64 of A-Z a-z 0-9 - _."
  }
}

variable "repo" {
  description = "Git repository, https URL or OWNER/NAME."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^(https?://[^@[:space:]]+|[A-Za-z0-9._/-]+)$", var.repo))
    error_message = "repo must be an https URL without credentials, or OWNER/NAME."
  }
}

variable "ref" {
  description = "Commit, tag or branch. With a branch, each plan is about its newest commit."
  type        = string
  nullable    = false
}

variable "path" {
  description = "The project's directory in repo; empty for the top."
  type        = string
  default     = ""
  nullable    = false
}

variable "build_file" {
  description = "Name of the build file. Null: build.yaml, build.yml or build.json."
  type        = string
  default     = null
}

variable "stage" {
  description = "Stage of the build file."
  type        = string
  default     = null
}

variable "role" {
  description = "ARN of the role of all functions. Null: role in the build file."
  type        = string
  default     = null
}

variable "environment" {
  description = "Variables by function, as the build file names it; they are added to those of the build file."
  type        = map(map(string))
  default     = {}
  nullable    = false
}

variable "keep_versions" {
  description = "Keep versions of layers that are no longer used: published versions of functions may need them."
  type        = bool
  default     = true
  nullable    = false
}
