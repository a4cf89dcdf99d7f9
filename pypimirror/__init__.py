"""A mirror of Python package indexes that never serves a byte it has not checked.

Importing this package costs nothing; see `docs/architecture.md` for what lives where.
"""

__version__ = "0.1.0"
