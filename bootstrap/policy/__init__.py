"""What the builder's roles may do: every action, the resources that it is for, and the reason."""
