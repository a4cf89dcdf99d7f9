"""How the catalog reads Boolean values: any other value in a row is an error.

SQLAlchemy would turn any value of SQLite into a Boolean, for example text into True. Then pages
would have wrong links, and nobody would notice that the catalog is damaged.
"""

from __future__ import annotations


def strict(value: object) -> bool | None:
    """Return a value of the database as a Boolean. Raises `ValueError`."""
    if value is None or (isinstance(value, int) and value in (0, 1)):
        return None if value is None else bool(value)
    raise ValueError(f"{value!r:.60} is neither true nor false")
