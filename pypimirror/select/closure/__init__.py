"""Finds the projects that an installation of the selected releases needs. Pure."""
