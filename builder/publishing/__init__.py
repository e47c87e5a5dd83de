"""What is deployed, what is to be, and the way from the one to the other, one step after the other."""
