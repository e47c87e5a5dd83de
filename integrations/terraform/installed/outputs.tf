output "function_name" {
  description = "Name of the builder function."
  value       = var.name
}

output "bucket" {
  description = "The bucket in which builds are kept."
  value       = local.asks ? local.ping.settings.bucket : var.bucket
}

output "prefix" {
  description = "The builder's part of the bucket."
  value       = local.asks ? local.ping.settings.prefix : var.prefix != null ? var.prefix : "${var.name}/"
}

output "architecture" {
  description = "The builder's architecture, which functions get that name none."
  value       = local.asks ? local.ping.architecture : var.architecture
}

output "version" {
  description = "Version of Lambdasmith, or revision. Layers are built again when it changes."
  value       = local.asks ? local.ping.version : var.revision
}

output "fingerprint" {
  description = "Changes whenever the builder does. Functions are then packaged again, and updated where that made a difference."
  value       = local.asks ? sha256(jsonencode([local.code, local.ping.layer_key, local.ping.runtime, local.ping.architecture])) : var.revision
}
