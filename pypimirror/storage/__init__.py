"""Storage of a mirror: served files, the private directory, the lock, and the list of changes."""
