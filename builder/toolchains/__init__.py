"""Compilers and build tools, fetched when a build needs one. Nothing here is imported by a build that does not."""
