"""Discover: project lists, and how far an upstream's lists and serials are trusted."""
