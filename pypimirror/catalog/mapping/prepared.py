"""Statements that are compiled once, and executed without SQLAlchemy's work for each execution.

For a statement of a batch, SQLAlchemy's own work takes several times longer than the database's:
it compares the statement with those in its cache, and writes a parameter for each member of an IN.
Here a statement is an expression of SQLAlchemy that a function returns. It is compiled once for
each database, and its parameters go to the driver.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache, partial, wraps
from typing import Any, ParamSpec, cast

from sqlalchemy import Boolean, ColumnElement, Connection, Dialect, bindparam
from sqlalchemy.engine import CursorResult
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType, TypeDecorator

P = ParamSpec("P")

#: Converts a value from the driver.
_Convert = Callable[[Any], Any]

#: Rows that `stream` takes from the driver at once.
_AT_ONCE = 1_000


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

    return cast("Callable[P, Statement]", named)


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

    def __init__(self, expression: ClauseElement, dialect: Dialect) -> None:
        compiled = expression.compile(dialect=dialect)
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

    def execute(
        self, connection: Connection, values: Mapping[str, Any], *, streams: bool = False
    ) -> CursorResult[Any]:
        """Execute the statement with these parameters.

        PostgreSQL sends all rows at once, unless the result `streams`.
        """
        options = {"stream_results": True} if streams else None
        return connection.exec_driver_sql(self.text, self._arranged(values), options)

    def execute_many(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> int:
        """Execute the statement with the parameters of each row. Return how many rows changed."""
        return connection.exec_driver_sql(self.text, [self._arranged(row) for row in rows]).rowcount

    def _arranged(self, values: Mapping[str, Any]) -> Any:
        given = {**self._fixed, **values}
        for name, convert in self._binders:
            given[name] = convert(given[name])
        names = self._names
        return given if names is None else tuple([given[name] for name in names])

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


@lru_cache(maxsize=1024)
def _prepared(statement: Statement, dialect: Dialect) -> _Prepared:
    return _Prepared(statement.build(), dialect)


def execute(connection: Connection, statement: Statement, values: Mapping[str, Any]) -> int:
    """Execute a statement that changes rows, and return how many. `values` are those of its
    parameters.
    """
    return _prepared(statement, connection.dialect).execute(connection, values).rowcount


def execute_many(
    connection: Connection, statement: Statement, rows: Sequence[Mapping[str, Any]]
) -> int:
    """Execute a statement for each of these sets of parameters. Return how many rows changed."""
    return _prepared(statement, connection.dialect).execute_many(connection, rows) if rows else 0


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
    return [row for part in _parts(connection, statement, values, None) for row in part]


def stream(
    connection: Connection, statement: Statement, values: Mapping[str, Any]
) -> Iterator[Sequence[Any]]:
    """Yield the rows that a query finds. They may be too many for the memory."""
    for part in _parts(connection, statement, values, _AT_ONCE):
        yield from part


def _parts(
    connection: Connection, statement: Statement, values: Mapping[str, Any], size: int | None
) -> Iterator[Sequence[Sequence[Any]]]:
    prepared = _prepared(statement, connection.dialect)
    result = prepared.execute(connection, values, streams=size is not None)
    converters = prepared.converters(result)
    while found := result.all() if size is None else result.fetchmany(size):
        if converters:
            found = list(map(list, found))  # type: ignore[arg-type]
            for number, convert in converters:
                for row in found:
                    row[number] = convert(row[number])
        yield found
        if size is None:
            return
