"""Readers of archives: zip and tar."""
