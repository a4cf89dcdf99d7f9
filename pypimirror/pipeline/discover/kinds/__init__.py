"""Kinds of upstreams: how to get the project list and the project pages of each kind."""
