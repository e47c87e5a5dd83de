output "function_name" {
  description = "Name of the function."
  value       = aws_lambda_function.this.function_name
}

output "arn" {
  description = "ARN to invoke: of the alias if there is one, otherwise of the function."
  value       = var.alias != null ? one(aws_lambda_alias.this[*].arn) : aws_lambda_function.this.arn
}

output "invoke_arn" {
  description = "The same for API Gateway."
  value       = var.alias != null ? one(aws_lambda_alias.this[*].invoke_arn) : aws_lambda_function.this.invoke_arn
}

output "qualified_arn" {
  description = "ARN of the version that was published; of $LATEST without an alias."
  value       = aws_lambda_function.this.qualified_arn
}

output "role_arn" {
  description = "ARN of the function's role."
  value       = aws_lambda_function.this.role
}

output "role_name" {
  description = "Name of the role that this module has made, to attach more to it; else null."
  value       = one(aws_iam_role.this[*].name)
}

output "log_group_name" {
  description = "Name of the log group, no matter what makes it."
  value       = local.is_seen || var.logging_config != null ? local.log_group : try(coalesce(local.logging.group), local.log_group)
}

output "url" {
  description = "The function's HTTPS address; null without url."
  value       = one(aws_lambda_function_url.this[*].function_url)
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
  description = "Warnings of the builder."
  value       = local.reply.warnings
}
