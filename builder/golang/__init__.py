"""Modules of Go: which repository and commit a path means, and how `go` gets them without a login."""
