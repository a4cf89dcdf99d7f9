"""Discover: the decisions on how a page changes the catalog."""
