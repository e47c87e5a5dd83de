variable "package_dir" {
  description = "Where `python setup.py package OUT` has written the builder."
  type        = string
  default     = "../../../build/package"
}

variable "lifecycle_rules" {
  description = "See the module builder; creating them takes a minute."
  type        = bool
  default     = true
}
