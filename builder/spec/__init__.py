"""The build file as a value."""
