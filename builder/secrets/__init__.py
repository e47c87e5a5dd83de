"""Secrets: where they are, for whom, and how they are kept out of everything that leaves."""
