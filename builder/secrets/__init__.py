"""Where secrets are, for whom they are, and how they are kept out of everything that leaves."""
