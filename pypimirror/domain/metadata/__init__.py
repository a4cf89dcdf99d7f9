"""Core metadata: its fields, and the requirements in it."""
