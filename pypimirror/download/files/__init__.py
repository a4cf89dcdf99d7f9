"""Downloads of files: staging, resuming, hashing."""
