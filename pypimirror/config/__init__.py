"""`pypimirror.toml`: its sections and keys, how it is read, and how upstreams are reached."""
