"""Queries for the pages for people: summaries, search, dependents, news."""
