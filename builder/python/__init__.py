"""Python's distributions: requirements, locks, wheels, parts, layers."""
