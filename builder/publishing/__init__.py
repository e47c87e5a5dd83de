"""The present and the wanted state of a function and its layers, and the steps from one to the other."""
