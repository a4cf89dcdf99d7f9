"""A mirror on object storage: the same tree and the same promises as in a directory."""
