"""Discover, project lists: which projects there are, and what an upstream's serials are worth."""
