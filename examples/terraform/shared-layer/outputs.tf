output "layers" {
  description = "The layer versions that both functions have."
  value       = module.shared.arns
}
