"""Reads `[select]` and decides what is mirrored. No I/O except for the files that it names."""
