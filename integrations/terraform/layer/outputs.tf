output "arns" {
  description = "ARNs of the layer versions, by the layers' names in the build file."
  value       = { for name, layer in aws_lambda_layer_version.this : name => layer.arn }
}

output "hashes" {
  description = "Hashes of the layer versions' content, by name."
  value       = { for name, layer in aws_lambda_layer_version.this : name => layer.source_code_hash }
}
