"""Writes what the code knows best into the documentation: `make docs`."""
