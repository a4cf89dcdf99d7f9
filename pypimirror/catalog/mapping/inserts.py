"""INSERT statements with ON CONFLICT, which each database has in a dialect of its own."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection


def insert_or_ignore(connection: Connection, table: Any) -> Any:
    """Return an INSERT that skips existing rows."""
    return insert_into(connection, table).on_conflict_do_nothing()


def insert_into(connection: Connection, table: Any) -> Any:
    """Return the INSERT of the database's own dialect, which has ON CONFLICT."""
    return insert_for(connection.dialect.name, table)


def insert_for(dialect: str, table: Any) -> Any:
    """Return the INSERT of a dialect, which has ON CONFLICT."""
    # Do not import the other database's dialect, because that is slow.
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)
