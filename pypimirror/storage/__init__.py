"""Where a mirror is kept: the tree, the order of its writes, the lock, the list of changes."""
