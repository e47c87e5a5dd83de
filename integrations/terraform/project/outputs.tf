output "request" {
  description = "The fields of an event for the builder that say which project is meant."
  value = {
    source     = local.is_local ? { bucket = var.builder.bucket, manifest = aws_s3_object.manifest[0].key, sha256 = local.manifest_sha256 } : null
    repo       = var.repo
    ref        = var.ref
    path       = var.path == "" ? null : var.path
    build_file = var.build_file
  }
  depends_on = [aws_s3_object.manifest]

  precondition {
    condition     = var.source_dir != null || var.repo != null
    error_message = "Give source_dir, or repo and ref."
  }
  precondition {
    condition     = var.source_dir != null || var.layers != null
    error_message = "With repo, name the layers of the build file: layers = [\"dependencies\"], or [] for none."
  }
}

output "is_local" {
  description = "Whether the files are on this machine, so that Terraform sees the build file."
  value       = local.is_local
}

output "hash" {
  description = "Changes with any file that is sent, or with repo, ref and path."
  value       = sha256(jsonencode([local.is_local ? local.manifest_sha256 : null, var.repo, var.ref, var.path, var.build_file]))
}

output "layer_hash" {
  description = "Changes with the input files of the layers; with repo, with every ref."
  value       = sha256(jsonencode([local.is_local ? local.layer_hash : null, var.repo, var.ref, var.path, var.build_file, local.layers]))
}

output "layers" {
  description = "Names of the layers that are built."
  value       = local.layers
}

output "spec" {
  description = "The build file as it is; null with repo, and where there is none."
  value       = local.spec
}
