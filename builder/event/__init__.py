"""One Lambda event, checked, as a frozen request."""
