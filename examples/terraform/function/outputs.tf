output "arn" {
  description = "What to invoke."
  value       = module.greeter.arn
}

output "version" {
  description = "The version that serves."
  value       = module.greeter.version
}

output "layers" {
  description = "The layer versions that are attached."
  value       = module.greeter.layers
}
