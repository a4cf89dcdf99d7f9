"""The types of the field: what indexes, files and messages are. No I/O, no SQL, no HTTP."""
