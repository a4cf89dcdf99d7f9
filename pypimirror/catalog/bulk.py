"""One statement for many rows: the writes of a sync for each file.

These statements name nothing but columns, so their text is put together here, once for each set of
columns, and the rows go to the driver unchanged. So columns with a type of their own cannot be
written this way: the values must be those that the driver takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.states import State

#: Most rows in one INSERT: every SQLite takes 999 parameters.
_TOGETHER = 100


class _Bulk(NamedTuple):
    text: str
    arrange: Callable[[Mapping[str, Any]], Any]  #: turns a row into the driver's parameters


def insert_rows(connection: Connection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all have the same columns."""
    if rows:
        _execute(connection, _insert(connection.dialect.name, table, tuple(rows[0])), rows)


def insert_together(connection: Connection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all have the same columns, many in one statement.

    SQLite's index of words writes to the database after each statement that changes it. For one row
    at a time, that takes four times as long.
    """
    if not rows or connection.dialect.name != "sqlite":
        insert_rows(connection, table, rows)
        return
    statement = _insert("sqlite", table, tuple(rows[0]))
    head, word, values = statement.text.rpartition(" VALUES ")
    for start in range(0, len(rows), _TOGETHER):
        some = rows[start : start + _TOGETHER]
        text = head + word + ", ".join([values] * len(some))
        connection.run(text, tuple(chain.from_iterable(map(statement.arrange, some))))


def update_rows(connection: Connection, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Set columns by id. Rows with the same columns share a statement."""
    shapes: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        shapes.setdefault(tuple(row), []).append(row)
    for shape, found in shapes.items():
        if len(shape) > 1:
            _execute(connection, _update(connection.dialect.name, table, shape), found)


def move_rows(
    connection: Connection,
    table: str,
    rows: Sequence[Mapping[str, Any]],
    target: State,
    sources: frozenset[State],
) -> int:
    """Set the state and other columns by id. All rows have the same columns. Return their number.

    Rows whose state is not in `sources` stay unchanged and are not counted.
    """
    statement = _update(connection.dialect.name, table, tuple(rows[0]), target, sources)
    return _execute(connection, statement, rows)


def _execute(connection: Connection, bulk: _Bulk, rows: Sequence[Mapping[str, Any]]) -> int:
    return connection.run_many(bulk.text, [bulk.arrange(row) for row in rows])


@lru_cache(maxsize=256)
def _insert(dialect: str, table: str, columns: tuple[str, ...]) -> _Bulk:
    names = ", ".join(f'"{name}"' for name in columns)
    marks = ", ".join(_mark(dialect, name) for name in columns)
    text = f'INSERT INTO "{table}" ({names}) VALUES ({marks})'  # noqa: S608 - our own words
    return _Bulk(text, _arrange(dialect, columns))


@lru_cache(maxsize=256)
def _update(
    dialect: str,
    table: str,
    columns: tuple[str, ...],
    target: State | None = None,
    sources: frozenset[State] = frozenset(),
) -> _Bulk:
    changed = [name for name in columns if name != "id"]
    values = [f'"{name}"={_mark(dialect, name)}' for name in changed]
    condition = f"id = {_mark(dialect, 'id')}"
    if target is not None:
        values.append(f"state={int(target)}")
        condition += f" AND state IN ({', '.join(str(int(each)) for each in sorted(sources))})"
    text = f'UPDATE "{table}" SET {", ".join(values)} WHERE {condition}'  # noqa: S608 - our own words
    return _Bulk(text, _arrange(dialect, (*changed, "id")))


def _mark(dialect: str, name: str) -> str:
    return "?" if dialect == "sqlite" else f"%({name})s"


def _arrange(dialect: str, names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], Any]:
    # There are at least two columns, so `itemgetter` returns a tuple.
    return itemgetter(*names) if dialect == "sqlite" else dict
