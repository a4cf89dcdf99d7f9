"""Queries on what is needed by what is selected, and on what that was computed from."""
