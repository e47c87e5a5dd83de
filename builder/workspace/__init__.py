"""The builder's part of /tmp, and whose code it runs there."""
