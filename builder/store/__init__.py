"""Content under keys: in our prefix of the user's bucket, or in a directory on a workstation."""
