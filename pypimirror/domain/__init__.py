"""The types of the field: indexes, files and messages. No I/O, no SQL, no HTTP."""
