"""Kinds of upstreams: how each answers which projects there are, and what their pages say."""
