"""Core metadata: its fields, and what a release requires by it."""
