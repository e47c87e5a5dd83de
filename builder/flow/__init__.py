"""The phases of a build and their order, from a request to a reply."""
