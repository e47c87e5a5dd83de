output "functions" {
  description = "By the names in the build file: the name, arn and invoke_arn of each function."
  value = {
    for key, made in aws_lambda_function.this : key => { name = made.function_name, arn = made.arn, invoke_arn = made.invoke_arn }
  }
}

output "layers" {
  description = "ARNs of the layer versions, by NAME/CONTENT."
  value       = { for id, made in aws_lambda_layer_version.this : id => made.arn }
}
