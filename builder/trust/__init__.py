"""What this builder may touch and hand out, and whose commits count."""
