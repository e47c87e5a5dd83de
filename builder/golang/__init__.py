"""Modules of Go: which repository and commit a path means, and how they are given to `go` without a login."""
