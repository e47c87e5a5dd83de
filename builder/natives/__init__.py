"""Native files: what they need, and whether the target has it."""
