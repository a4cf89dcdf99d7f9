"""Checks of the place where a mirror is kept: the directory, its rights and space, the bucket."""
