"""Statements that are compiled once, and executed without SQLAlchemy's work for each execution.

For a statement of a batch, SQLAlchemy's own work takes several times longer than the database's:
it compares the statement with those in its cache, and writes a parameter for each member of an IN.
Here a statement is compiled once for each database, and its parameters go to the driver. So it must
be the same object each time, such as the result of a cached function.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Boolean, ColumnElement, Connection, Dialect, bindparam
from sqlalchemy.engine import CursorResult
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType, TypeDecorator

#: Converts a value from the driver.
_Convert = Callable[[Any], Any]


class _Values(TypeDecorator[Any]):
    """The type of a parameter that is a list of numbers or texts."""

    impl = NullType
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Return the list as the driver takes it."""
        values = list(value)
        return values if dialect.name == "postgresql" else json.dumps(values)


class _Among(FunctionElement[bool]):
    """The condition that a column has one of the values in a list."""

    name = "among"
    type = Boolean()
    inherit_cache = True

    def self_group(self, against: Any = None) -> _Among:  # noqa: ARG002
        """Return the condition as it is: SQLite uses no index for one that is compared with 1."""
        return self


@compiles(_Among)
def _as_subquery(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(each, **options) for each in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608 - no values


@compiles(_Among, "postgresql")
def _as_array(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(each, **options) for each in element.clauses)
    return f"{column} = ANY({values})"


def among(column: ColumnElement[Any], name: str = "ids") -> ColumnElement[bool]:
    """Return the condition that a column has one of the values of the parameter `name`: a
    collection of numbers or texts, of any size.
    """
    return _Among(column, bindparam(name, type_=_Values()))


class _Prepared(NamedTuple):
    """A compiled statement."""

    text: str
    arrange: Callable[[Mapping[str, Any]], Any]  #: turns parameters into the driver's
    converters: tuple[tuple[int, _Convert], ...]  #: of the result, by the number of the column


def execute(
    connection: Connection, statement: ClauseElement, values: Mapping[str, Any]
) -> CursorResult[Any]:
    """Execute a statement that changes rows. `values` are those of its parameters."""
    prepared = _prepare(statement, connection.dialect)
    return connection.exec_driver_sql(prepared.text, prepared.arrange(values))


def rows(
    connection: Connection, statement: ClauseElement, values: Mapping[str, Any]
) -> list[tuple[Any, ...]]:
    """Return all rows that a query finds. `values` are those of its parameters."""
    prepared = _prepare(statement, connection.dialect)
    result = connection.exec_driver_sql(prepared.text, prepared.arrange(values))
    found: list[Any] = list(result.all())
    if prepared.converters:
        found = list(map(list, found))
        for number, convert in prepared.converters:
            for row in found:
                row[number] = convert(row[number])
    return found


@lru_cache(maxsize=512)
def _prepare(statement: ClauseElement, dialect: Dialect) -> _Prepared:
    compiled = statement.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)
    assert not compiled.post_compile_params, "use `among`, or literals"
    text = str(compiled)
    return _Prepared(text, _arrangement(compiled, dialect), _converters(compiled, dialect))


def _arrangement(compiled: SQLCompiler, dialect: Dialect) -> Callable[[Mapping[str, Any]], Any]:
    """Return the function that turns parameters into the driver's."""
    fixed: dict[str, Any] = {}  # parameters that the statement itself has
    converters: list[tuple[str, _Convert]] = []
    for bind, name in compiled.bind_names.items():
        convert = bind.type.dialect_impl(dialect).bind_processor(dialect)
        if not bind.required:
            value = bind.effective_value
            fixed[name] = value if convert is None else convert(value)
        elif convert is not None:
            converters.append((name, convert))
    names = compiled.positiontup

    def arrange(values: Mapping[str, Any]) -> Any:
        given = {**fixed, **values}
        for name, convert in converters:
            given[name] = convert(given[name])
        return given if names is None else tuple(given[name] for name in names)

    return arrange


def _converters(compiled: SQLCompiler, dialect: Dialect) -> tuple[tuple[int, _Convert], ...]:
    found = []
    for number, column in enumerate(compiled._result_columns):
        convert = column.type.dialect_impl(dialect).result_processor(dialect, None)
        if convert is not None:
            found.append((number, convert))
    return tuple(found)
