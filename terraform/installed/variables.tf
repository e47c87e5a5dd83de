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
