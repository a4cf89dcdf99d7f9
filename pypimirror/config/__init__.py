"""`pypimirror.toml`: its sections and keys, how it is read, and how indexes are reached."""
