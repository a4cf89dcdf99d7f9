"""Audit: compare the disk with the catalog."""
