variable "name" {
  description = "Name of a builder function that `setup.py init` has set up in this account and region."
  type        = string
  default     = "lambdasmith"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,64}$", var.name))
    error_message = "The name must be 1 to 64 of A-Z a-z 0-9 - _."
  }
}

variable "bucket" {
  description = "The bucket in which the builder keeps builds, as `setup.py status` names it. With it, the builder is neither asked by a plan nor by destroy; null: it is asked for all that follows."
  type        = string
  default     = null
}

variable "prefix" {
  description = "The builder's part of the bucket, with bucket. Null: NAME/."
  type        = string
  default     = null

  validation {
    condition     = can(regex("^$|/$", coalesce(var.prefix, "/")))
    error_message = "The builder's prefix must end with a slash."
  }
}

variable "architecture" {
  description = "The builder's architecture, with bucket."
  type        = string
  default     = "x86_64"
  nullable    = false

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "The architecture must be x86_64 or arm64."
  }
}

variable "revision" {
  description = "Any text, with bucket: change it when the builder has been updated, to package functions and layers again."
  type        = string
  default     = ""
  nullable    = false
}
