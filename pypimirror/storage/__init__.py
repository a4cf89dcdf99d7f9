"""Where a mirror is kept: what is served, the private directory, the lock, list of changes."""
