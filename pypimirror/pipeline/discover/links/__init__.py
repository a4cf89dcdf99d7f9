"""Discover, links: pages of links, linked pages, and files that stay with their upstream."""
