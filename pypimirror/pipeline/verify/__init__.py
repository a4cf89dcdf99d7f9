"""Verify: prove fetched files, and move them to their places or into quarantine."""
