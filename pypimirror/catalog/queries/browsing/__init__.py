"""Queries for people who look around: summaries, search, dependents, what is new."""
