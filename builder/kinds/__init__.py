"""Kinds of build besides Python's own. `table` lists them; nothing of it is imported by a build of Python alone."""
