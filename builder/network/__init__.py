"""Networking: which hosts are reached, which are trusted, and what failed on the way."""
