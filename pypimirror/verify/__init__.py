"""Proving that bytes are right: digests, archives, wheels."""
