output "function_name" {
  description = "Name of the function."
  value       = aws_lambda_function.this.function_name
}

output "arn" {
  description = "ARN of the alias if there is one, else of the function: what to invoke."
  value       = var.alias != null ? one(aws_lambda_alias.this[*].arn) : aws_lambda_function.this.arn
}

output "invoke_arn" {
  description = "The same for API Gateway."
  value       = var.alias != null ? one(aws_lambda_alias.this[*].invoke_arn) : aws_lambda_function.this.invoke_arn
}

output "version" {
  description = "The version that was published, $LATEST without an alias."
  value       = aws_lambda_function.this.version
}

output "layers" {
  description = "ARNs of the function's own layer versions, by their names in the build file."
  value       = module.layers.arns
}

output "code_sha256" {
  description = "Hash of the code, as Lambda spells it."
  value       = local.code.source_code_hash
}

output "warnings" {
  description = "What the builder has warned of."
  value       = local.reply.warnings
}
