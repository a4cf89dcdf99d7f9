"""Proving that bytes are what they should be: digests, archives, wheels."""
