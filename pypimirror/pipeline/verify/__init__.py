"""Verify: proves what was fetched, and puts it in its place or into quarantine."""
