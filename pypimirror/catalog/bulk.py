"""One statement for many rows: the writes of a sync for each file.

SQLAlchemy builds the parameters of each row anew, which takes several times longer than the
database needs for the rows. Here SQLAlchemy only compiles the statement, once for each set of
columns, and the rows go to the driver unchanged. So columns with a type of their own cannot be
written this way: the values must be those that the driver takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, Dialect, Table, bindparam, insert, literal_column, or_, update

from pypimirror.catalog.states import State

#: Most rows in one INSERT: every SQLite takes 999 parameters.
_TOGETHER = 100

_MARK = "_"  # prefix of parameter names, so that they differ from column names


class _Statement(NamedTuple):
    text: str
    arrange: Callable[[Mapping[str, Any]], Any]  #: turns a row into the driver's parameters


def insert_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all have the same columns."""
    if rows:
        _execute(connection, _insert(connection.dialect, table, tuple(rows[0])), rows)


def insert_together(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Insert rows that all have the same columns, many in one statement.

    SQLite's index of words writes to the database after each statement that changes it. For one row
    at a time, that takes four times as long.
    """
    statement = _insert(connection.dialect, table, tuple(rows[0])) if rows else None
    if statement is None or statement.arrange is _by_name:
        insert_rows(connection, table, rows)
        return
    head, word, values = statement.text.rpartition(" VALUES ")
    for start in range(0, len(rows), _TOGETHER):
        some = rows[start : start + _TOGETHER]
        text = head + word + ", ".join([values] * len(some))
        connection.exec_driver_sql(text, tuple(chain.from_iterable(map(statement.arrange, some))))


def update_rows(connection: Connection, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """Set columns by id. Rows with the same columns share a statement."""
    shapes: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        shapes.setdefault(tuple(row), []).append(row)
    for shape, found in shapes.items():
        if len(shape) > 1:
            _execute(connection, _update(connection.dialect, table, shape), found)


def move_rows(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    target: State,
    sources: frozenset[State],
) -> int:
    """Set the state and other columns by id. All rows have the same columns. Return their number.

    Rows whose state is not in `sources` stay unchanged and are not counted.
    """
    statement = _update(connection.dialect, table, tuple(rows[0]), target, sources)
    return _execute(connection, statement, rows)


def _execute(
    connection: Connection, statement: _Statement, rows: Sequence[Mapping[str, Any]]
) -> int:
    return connection.exec_driver_sql(
        statement.text, [statement.arrange(row) for row in rows]
    ).rowcount


@lru_cache(maxsize=256)
def _insert(dialect: Dialect, table: Table, columns: tuple[str, ...]) -> _Statement:
    values: dict[str, Any] = {name: bindparam(_MARK + name) for name in columns}
    return _written(insert(table).inline().values(values), dialect)  # the ids are not needed


@lru_cache(maxsize=256)
def _update(
    dialect: Dialect,
    table: Table,
    columns: tuple[str, ...],
    target: State | None = None,
    sources: frozenset[State] = frozenset(),
) -> _Statement:
    values: dict[str, Any] = {n: bindparam(_MARK + n) for n in columns if n != "id"}
    statement = update(table).where(table.c.id == bindparam(f"{_MARK}id"))
    if target is not None:
        values["state"] = literal_column(str(int(target)))
        allowed = (table.c.state == literal_column(str(int(source))) for source in sorted(sources))
        statement = statement.where(or_(*allowed))
    return _written(statement.values(values), dialect)


def _written(statement: Any, dialect: Dialect) -> _Statement:
    compiled = statement.compile(dialect=dialect)
    if not compiled.positiontup:
        return _Statement(str(compiled), _by_name)
    # There are at least two columns, so `itemgetter` returns a tuple.
    names = [name.removeprefix(_MARK) for name in compiled.positiontup]
    return _Statement(str(compiled), itemgetter(*names))


def _by_name(row: Mapping[str, Any]) -> dict[str, Any]:
    return {_MARK + name: value for name, value in row.items()}
