"""Discover: which projects have changed, and what their pages say now."""
