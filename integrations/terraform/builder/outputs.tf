output "function_name" {
  description = "Name of the builder function, ready to build."
  value       = aws_lambda_function.builder.function_name
}

output "function_arn" {
  description = "ARN of the builder function: callers need lambda:InvokeFunction on it."
  value       = aws_lambda_function.builder.arn
}

output "role_arn" {
  description = "ARN of the builder's role."
  value       = aws_iam_role.builder.arn
}

output "bucket" {
  description = "The bucket in which builds are kept."
  value       = local.bucket
}

output "prefix" {
  description = "The builder's part of the bucket."
  value       = local.prefix
}

output "architecture" {
  description = "The builder's architecture, which functions get that name none."
  value       = var.architecture
}

output "version" {
  description = "Version of Lambdasmith. Layers are built again when it changes."
  value       = local.package.version
}

output "fingerprint" {
  description = "Changes whenever the builder does. Functions are then packaged again, and updated where that made a difference."
  value       = sha256(jsonencode([local.code_hash, local.package.layer_key, local.runtime, var.architecture]))
}
