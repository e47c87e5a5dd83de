# The files at some depths of a directory: a function, as far as Terraform has some.
variable "root" {
  description = "The directory."
  type        = string
}

variable "depths" {
  description = "How many directories are above the files."
  type        = list(number)
}

variable "sizes" {
  description = "How many directories a link may lead back to be found here, itself among them."
  type        = list(number)
}

locals {
  # Not what is named .#…: an editor's lock is a link that leads nowhere, which makes fileset fail.
  patterns = [for depth in var.depths : "${join("", [for _ in range(depth) : "*/"])}{[^.]*,.[^#]*}"]
  names    = try(toset(flatten([for pattern in local.patterns : tolist(fileset(var.root, pattern))])), null)
  folders  = [for folder in toset([for name in local.names != null ? local.names : [] : dirname(name)]) : split("/", folder)]
}

output "names" {
  description = "Paths of the files, null where they cannot be listed."
  value       = local.names
}

# What follows on itself three times; a single name four times, because project/project is usual.
output "loops" {
  description = "The directories that repeat themselves, up to the first repetition."
  value = toset(flatten([
    for parts in local.folders : [
      for size in var.sizes : [
        for at in range(max(0, length(parts) - (size == 1 ? 3 : 3 * size - 1))) : join("/", slice(parts, 0, at + size))
        if slice(parts, at, at + size) == slice(parts, at + size, at + 2 * size)
        && slice(parts, at, at + size) == slice(parts, at + 2 * size, at + 3 * size)
        && (size > 1 || parts[at] == try(parts[at + 3], null))
      ]
    ]
  ]))
}
