"""Whom the network reaches, whom it trusts, and what went wrong on the way."""
