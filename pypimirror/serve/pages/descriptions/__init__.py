"""Descriptions of projects become HTML: what libraries for that need to be fast."""
