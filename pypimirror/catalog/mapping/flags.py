"""How the catalog reads what is true or false: where a row holds neither, that is an error.

SQLAlchemy would take whatever SQLite gives for one of both, text for true: pages would lead
elsewhere, and nobody would see that the catalog is damaged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Boolean, Dialect


class Flag(Boolean):
    """A Boolean that is read strictly; in the database it is what a Boolean is."""

    cache_ok = True

    def result_processor(
        self,
        dialect: Dialect,
        coltype: Any,  # noqa: ARG002
    ) -> Callable[[Any], Any] | None:
        """Return what makes a value of what the database gives."""
        return None if dialect.supports_native_boolean else _strict


def _strict(value: object) -> bool | None:
    if value is None or (isinstance(value, int) and value in (0, 1)):
        return None if value is None else bool(value)
    raise ValueError(f"{value!r:.60} is neither true nor false")
