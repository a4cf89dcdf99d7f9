"""Statements that are compiled once, and executed without SQLAlchemy's work for each execution.

For a statement of a batch, SQLAlchemy's own work takes several times longer than the database's:
it compares the statement with those in its cache, and writes a parameter for each member of an IN.
Here a statement is an expression of SQLAlchemy that a function returns. It is compiled once for
each kind of database, and its parameters go to the driver.

For SQLite this is done ahead of time, by `make docs`, so that SQLAlchemy need not be imported: that
takes half of the time of a run that finds nothing to do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache, partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, cast

import msgspec

from pypimirror.catalog.mapping import sql
from pypimirror.catalog.mapping.compiled import Compiled, CompiledAhead
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.flags import strict

if TYPE_CHECKING:
    from sqlalchemy.sql.elements import ClauseElement

P = ParamSpec("P")

#: The statements for SQLite: `docs.generate.statements`.
KNOWN = Path(__file__).with_name("known.json")

#: Rows that `stream` takes from the driver at once.
_AT_ONCE = 1_000

#: Each function that `statement` decorates, and what became of it.
declared: list[tuple[Callable[..., ClauseElement], Callable[..., Statement]]] = []


class Statement:
    """A statement by its name, and how its expression is built."""

    __slots__ = ("build", "name")

    def __init__(self, name: str, build: Callable[[], ClauseElement]) -> None:
        self.name = name
        self.build = build


def statement(build: Callable[P, ClauseElement]) -> Callable[P, Statement]:
    """Decorate a function that returns the expression of a statement.

    Whatever varies from one execution to the next is a `bindparam` of the expression. Parameters of
    the function choose between few statements: they are Booleans, members of an Enum, or the name
    of the database, `dialect`.
    """
    name = f"{build.__module__.removeprefix('pypimirror.catalog.')}.{build.__qualname__}"

    @cache
    @wraps(build)
    def named(*args: P.args, **kwargs: P.kwargs) -> Statement:
        chosen = [*map(str, args), *(f"{key}={value}" for key, value in sorted(kwargs.items()))]
        return Statement(f"{name}({', '.join(chosen)})", partial(build, *args, **kwargs))

    declared.append((build, named))
    return cast("Callable[P, Statement]", named)


def among(column: sql.ColumnElement[Any], name: str = "ids") -> sql.ColumnElement[bool]:
    """Return the condition that a column has one of the values of the parameter `name`: a
    collection of numbers or texts, of any size.
    """
    from pypimirror.catalog.mapping.types import Among, Values

    return Among(column, sql.bindparam(name, type_=Values()))


def schema() -> list[str]:
    """Return the statements that create the tables and their indexes in SQLite."""
    return _known().schema


def execute(connection: Connection, statement: Statement, values: Mapping[str, Any]) -> int:
    """Execute a statement that changes rows, and return how many. `values` are those of its
    parameters.
    """
    compiled = _compiled(statement, connection.dialect.name)
    return connection.run(compiled.text, _arranged(compiled, connection, values))


def execute_many(
    connection: Connection, statement: Statement, rows: Sequence[Mapping[str, Any]]
) -> int:
    """Execute a statement for each of these sets of parameters. Return how many rows changed."""
    if not rows:
        return 0
    compiled = _compiled(statement, connection.dialect.name)
    arranged = [_arranged(compiled, connection, row) for row in rows]
    return connection.run_many(compiled.text, arranged)


def value(connection: Connection, statement: Statement, values: Mapping[str, Any]) -> Any:
    """Return the first value of the first row that a query finds, or None.

    With RETURNING, that is the key of a row that was inserted.
    """
    found = rows(connection, statement, values)
    return found[0][0] if found else None


def rows(
    connection: Connection, statement: Statement, values: Mapping[str, Any]
) -> list[Sequence[Any]]:
    """Return all rows that a query finds. `values` are those of its parameters."""
    compiled = _compiled(statement, connection.dialect.name)
    found = connection.rows(compiled.text, _arranged(compiled, connection, values))
    return _converted(compiled, found) if compiled.flags else found


def stream(
    connection: Connection, statement: Statement, values: Mapping[str, Any]
) -> Iterator[Sequence[Any]]:
    """Yield the rows that a query finds. They may be too many for the memory."""
    compiled = _compiled(statement, connection.dialect.name)
    arranged = _arranged(compiled, connection, values)
    for found in connection.parts(compiled.text, _AT_ONCE, arranged):
        yield from _converted(compiled, found) if compiled.flags else found


def _arranged(compiled: Compiled, connection: Connection, values: Mapping[str, Any]) -> Any:
    given = {**compiled.fixed, **values}
    for name in compiled.lists:
        members = list(given[name])
        given[name] = members if connection.dialect.name == "postgresql" else json.dumps(members)
    names = compiled.names
    return given if names is None else tuple([given[name] for name in names])


def _converted(compiled: Compiled, rows: list[Any]) -> list[Sequence[Any]]:
    found = list(map(list, rows))
    for number in compiled.flags:
        for row in found:
            row[number] = strict(row[number])
    return cast("list[Sequence[Any]]", found)


@lru_cache(maxsize=1024)
def _compiled(statement: Statement, dialect: str) -> Compiled:
    if dialect == "sqlite" and (found := _known().statements.get(statement.name)) is not None:
        return found
    sql.load()
    from pypimirror.catalog.mapping import compiling

    return compiling.compile_for(compiling.dialect_of(dialect), statement.build())


@cache
def _known() -> CompiledAhead:
    return msgspec.json.decode(KNOWN.read_bytes(), type=CompiledAhead)
