"""How the catalog reads Boolean values: any other value in a row is an error.

SQLAlchemy would turn any value of SQLite into a Boolean, for example text into True. Then pages
would have wrong links, and nobody would notice that the catalog is damaged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Boolean, Dialect


class Flag(Boolean):
    """A Boolean that is read strictly. In the database it is an ordinary Boolean."""

    cache_ok = True

    def result_processor(
        self,
        dialect: Dialect,
        coltype: Any,  # noqa: ARG002
    ) -> Callable[[Any], Any] | None:
        """Return the function that converts a value from the database."""
        return None if dialect.supports_native_boolean else _strict


def _strict(value: object) -> bool | None:
    if value is None or (isinstance(value, int) and value in (0, 1)):
        return None if value is None else bool(value)
    raise ValueError(f"{value!r:.60} is neither true nor false")
