"""Publish: write the pages that changed, and remove what is no longer offered."""
