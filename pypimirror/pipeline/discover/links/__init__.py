"""Discover: pages of links, linked pages, and links to files at the upstream."""
