"""Queries on the workers of a run, and on the projects that they have claimed."""
