"""Statements that are compiled once, and executed without SQLAlchemy's work for each execution.

For a statement of a batch, SQLAlchemy's own work takes several times longer than the database's:
it compares the statement with those in its cache, and writes a parameter for each member of an IN.
Here a statement is compiled once for each database, and its parameters go to the driver. So it must
be the same object each time, such as the result of a cached function.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

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
        """Return the condition as it is. SQLAlchemy would compare it with 1, and then SQLite would
        use no index.
        """
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


class _Prepared:
    """A compiled statement."""

    def __init__(self, statement: ClauseElement, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)
        assert not compiled.post_compile_params, "use `among`, or literals"
        self.text = str(compiled)
        self._dialect = dialect
        self._types = [column.type for column in compiled._result_columns]
        self._converters: list[tuple[int, _Convert]] | None = None
        self._names = compiled.positiontup
        self._fixed: dict[str, Any] = {}  # parameters that the statement itself has
        self._binders: list[tuple[str, _Convert]] = []
        for bind, name in compiled.bind_names.items():
            convert = bind.type.dialect_impl(dialect).bind_processor(dialect)
            if not bind.required:
                value = bind.effective_value
                self._fixed[name] = value if convert is None else convert(value)
            elif convert is not None:
                self._binders.append((name, convert))

    def execute(self, connection: Connection, values: Mapping[str, Any]) -> CursorResult[Any]:
        """Execute the statement with these parameters."""
        given = {**self._fixed, **values}
        for name, convert in self._binders:
            given[name] = convert(given[name])
        names = self._names
        arranged: Any = given if names is None else tuple([given[name] for name in names])
        return connection.exec_driver_sql(self.text, arranged)

    def converters(self, result: CursorResult[Any]) -> list[tuple[int, _Convert]]:
        """Return the functions that convert the driver's values, by the number of the column."""
        if self._converters is None:
            assert result.cursor is not None
            found: list[tuple[int, _Convert]] = []
            for number, column in enumerate(result.cursor.description):
                kind = self._types[number].dialect_impl(self._dialect)
                convert = kind.result_processor(self._dialect, column[1])
                if convert is not None:
                    found.append((number, convert))
            self._converters = found
        return self._converters


@lru_cache(maxsize=512)
def _prepared(statement: ClauseElement, dialect: Dialect) -> _Prepared:
    return _Prepared(statement, dialect)


def execute(
    connection: Connection, statement: ClauseElement, values: Mapping[str, Any]
) -> CursorResult[Any]:
    """Execute a statement that changes rows. `values` are those of its parameters."""
    return _prepared(statement, connection.dialect).execute(connection, values)


def rows(
    connection: Connection, statement: ClauseElement, values: Mapping[str, Any]
) -> list[Sequence[Any]]:
    """Return all rows that a query finds. `values` are those of its parameters."""
    prepared = _prepared(statement, connection.dialect)
    result = prepared.execute(connection, values)
    converters = prepared.converters(result)
    if not converters:
        return list(result.all())
    found = list(map(list, result.all()))
    for number, convert in converters:
        for row in found:
            row[number] = convert(row[number])
    return list(found)
