"""Publish: writes the pages that changed, and removes what has gone."""
