"""Queries on many runs of the history together."""
