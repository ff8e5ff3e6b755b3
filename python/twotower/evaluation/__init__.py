"""Splits of interactions, and metrics over them."""
