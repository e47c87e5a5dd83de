"""Leases, claims and records, all in the store: who works on what, and how it ended."""
