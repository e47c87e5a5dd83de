"""Execution of the steps of a plan, by what they change."""
