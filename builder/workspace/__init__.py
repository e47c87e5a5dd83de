"""The builder's corner of /tmp, and whose code it runs there."""
