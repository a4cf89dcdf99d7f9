"""Types and conditions of our own for SQLAlchemy."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Dialect, Text, case, func
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType, TypeDecorator

from pypimirror.catalog.mapping.addresses import MARK
from pypimirror.catalog.mapping.flags import strict


class Flag(Boolean):
    """A Boolean that is read strictly. In the database it is an ordinary Boolean."""

    cache_ok = True

    def result_processor(
        self,
        dialect: Dialect,
        coltype: Any,  # noqa: ARG002
    ) -> Callable[[Any], Any] | None:
        """Return the function that converts a value from the database."""
        return None if dialect.supports_native_boolean else strict


class AddressType(TypeDecorator[str]):
    """The type of an address in a table with a column `filename`. It is text in the database."""

    impl = Text
    cache_ok = True

    def column_expression(self, column: Any) -> ColumnElement[str]:
        """Return the expression that is read instead of the column."""
        is_short = column.like(f"%{MARK}")
        return case((is_short, func.rtrim(column) + column.table.c.filename), else_=column)


class Values(TypeDecorator[Any]):
    """The type of a parameter that is a list of numbers or texts."""

    impl = NullType
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Return the list as the driver takes it."""
        values = list(value)
        return values if dialect.name == "postgresql" else json.dumps(values)


class Among(FunctionElement[bool]):
    """The condition that a column has one of the values in a list."""

    name = "among"
    type = Boolean()
    inherit_cache = True

    def self_group(self, against: Any = None) -> Among:  # noqa: ARG002
        """Return the condition as it is. SQLAlchemy would compare it with 1, and then SQLite would
        use no index.
        """
        return self


@compiles(Among)
def _as_subquery(element: Among, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(each, **options) for each in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608 - no values


@compiles(Among, "postgresql")
def _as_array(element: Among, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(each, **options) for each in element.clauses)
    return f"{column} = ANY({values})"
