"""INSERT statements: those with ON CONFLICT are in a dialect of each database."""

from __future__ import annotations

from typing import Any

from pypimirror.catalog.mapping import sql


def parameters(*names: str) -> dict[str, Any]:
    """Return the values of columns for an INSERT: each is a parameter with the column's name."""
    return {name: sql.bindparam(name) for name in names}


def insert_for(dialect: str, table: Any) -> Any:
    """Return the INSERT of a dialect, which has ON CONFLICT."""
    # Do not import the other database's dialect, because that is slow.
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)
