"""A project becomes artifacts: components, their keys, their zips, the checks."""
