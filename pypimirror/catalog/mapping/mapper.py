"""Read records: each class of `pypimirror.catalog.records` describes a table.

A query reads a record by the names of its fields. So no other place than the record lists the
columns of a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from pypimirror.catalog.mapping import prepared, sql
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.fields import Record as Record
from pypimirror.catalog.mapping.prepared import Statement

R = TypeVar("R", bound=Record)


def select_record(
    record: type[Record], source: sql.Table, **others: sql.ColumnElement[Any]
) -> sql.Select[Any]:
    """Return a query for the columns of a record: those of `source`, or `others` by name."""
    fields = record.__struct_fields__
    return sql.select(
        *(others[name].label(name) if name in others else source.c[name] for name in fields)
    )


def read_all(
    connection: Connection, query: Statement, record: type[R], values: Mapping[str, Any]
) -> list[R]:
    """Return the records of this class that a query of `select_record` finds."""
    make: Callable[..., R] = record
    return [make(*row) for row in prepared.rows(connection, query, values)]


def stream(
    connection: Connection, query: Statement, record: type[R], values: Mapping[str, Any]
) -> Iterator[R]:
    """Like `read_all`, for records that may be too many for the memory."""
    make: Callable[..., R] = record
    for row in prepared.stream(connection, query, values):
        yield make(*row)


def read_first(
    connection: Connection, query: Statement, record: type[R], values: Mapping[str, Any]
) -> R | None:
    """Return the first record that a query of `select_record` finds, or None."""
    return next(iter(read_all(connection, query, record, values)), None)
