"""Checks of wheels: RECORD, structure, entry points, core metadata."""
