"""Who works on what, and what came of it: leases, claims and records, all in the store."""
