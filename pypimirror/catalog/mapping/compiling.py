"""Compile statements: for SQLite ahead of time (`make docs`), for others when they are executed."""

from __future__ import annotations

from sqlalchemy import Boolean, Dialect
from sqlalchemy.dialects import registry
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement

from pypimirror.catalog.mapping.compiled import Compiled
from pypimirror.catalog.mapping.types import Values


def compile_for(dialect: Dialect, expression: ClauseElement) -> Compiled:
    """Return an expression as the driver of a database takes it."""
    compiled = expression.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)
    assert not compiled.post_compile_params, "use `among`, or literals"
    names = compiled.bind_names.items()
    return Compiled(
        text=str(compiled),
        names=None if compiled.positiontup is None else tuple(compiled.positiontup),
        fixed={name: bind.effective_value for bind, name in names if not bind.required},
        lists=tuple(name for bind, name in names if isinstance(bind.type, Values)),
        flags=tuple(
            number
            for number, column in enumerate(compiled._result_columns)
            if isinstance(column.type, Boolean) and not dialect.supports_native_boolean
        ),
    )


def dialect_of(name: str) -> Dialect:
    """Return a dialect that compiles for a kind of database."""
    found: Dialect = registry.load({"postgresql": "postgresql.psycopg"}.get(name, name))()
    return found
