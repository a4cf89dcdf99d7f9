"""Audit: compares what is on disk with the catalog."""
