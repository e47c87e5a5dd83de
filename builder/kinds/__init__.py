"""Kinds of build besides Python's own, listed in `table`. A build of Python alone imports nothing from here."""
