"""Zips and tars: read strictly, written deterministically, spliced."""
