"""How a database executes the statements of a query."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import event

from pypimirror.catalog.database import Connection
from pypimirror.catalog.engines.sqlite import SqliteConnection


def statements_of(
    connection: Connection, ask: Callable[[Connection], Any]
) -> list[tuple[str, Any]]:
    """Return the text and the parameters of each statement that `ask` executes."""
    found: list[tuple[str, Any]] = []
    if isinstance(connection, SqliteConnection):
        connection.raw.set_trace_callback(lambda text: found.append((text, ())))
        ask(connection)
        connection.raw.set_trace_callback(None)
    else:
        event.listen(
            connection.alchemy.engine, "before_cursor_execute", lambda *a: found.append(a[2:4])
        )
        ask(connection)
    return list(found)  # it listens on, to whoever explains


def plan_of(connection: Connection, statement: tuple[str, Any]) -> list[str]:
    """Return the steps of a statement, as the database explains them."""
    text, values = statement
    explain = "EXPLAIN" if connection.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
    return [str(row[-1]) for row in connection.rows(f"{explain} {text}", values)]
