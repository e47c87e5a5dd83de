"""Compilers and build tools, fetched when a build needs one. Other builds import nothing from here."""
