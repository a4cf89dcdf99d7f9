"""Queries on the projects that selected files need, and on the requirements behind that."""
