"""The parts of dulwich that are used, in our own types: the git protocol, packs, and the files that git itself keeps.

The only importer of dulwich, and only inside the functions that need it: `ping` works without.
"""
