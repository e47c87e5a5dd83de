"""What this builder may touch and give, and whose commits count."""
