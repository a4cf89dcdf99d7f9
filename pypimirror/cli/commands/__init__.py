"""The commands as people type them: arguments and options, and nothing of the work."""
