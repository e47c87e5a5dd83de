"""Pure functions from the wanted and the present state to the steps between."""
