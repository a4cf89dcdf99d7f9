"""Discover: find the projects that have changed, and read their pages."""
