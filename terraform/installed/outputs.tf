output "function_name" {
  description = "Name of the builder function."
  value       = var.name
}

output "bucket" {
  description = "The bucket in which builds are kept."
  value       = local.ping.settings.bucket
}

output "prefix" {
  description = "The builder's part of the bucket."
  value       = local.ping.settings.prefix
}

output "architecture" {
  description = "The builder's architecture, which functions get that name none."
  value       = local.ping.architecture
}

output "version" {
  description = "Version of Lambdasmith. Layers are built anew when it changes."
  value       = local.ping.version
}

output "fingerprint" {
  description = "Changes whenever the builder does. Functions are packaged anew then, and updated where that made a difference."
  value       = sha256(jsonencode([data.aws_lambda_function.builder.code_sha256, local.ping.layer_key, local.ping.runtime, local.ping.architecture]))
}
