"""The commands: thin, over the Python API of the other packages."""
