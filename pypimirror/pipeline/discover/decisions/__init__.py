"""Discover, decisions: what a page means for the catalog."""
