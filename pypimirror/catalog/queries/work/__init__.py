"""Queries on the workers of a run, the projects that they have claimed, and asked files."""
