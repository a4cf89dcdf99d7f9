"""Readers of archives: zip, tar, and the packages of operating systems."""
