"""The order of things: from a request to a reply."""
