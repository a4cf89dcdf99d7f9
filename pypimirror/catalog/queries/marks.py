"""Read and write marks. `pypimirror.catalog.marks` defines them."""

from __future__ import annotations

from typing import Any, TypeVar

from pypimirror.catalog.mapping import prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.inserts import insert_for, parameters
from pypimirror.catalog.mapping.prepared import statement
from pypimirror.catalog.marks import Mark

T = TypeVar("T")


class BadMarkError(ValueError):
    """A mark has a value that this program never writes."""


def read(connection: Connection, mark: Mark[T]) -> T | None:
    """Return the value of a mark; None if it is not set.

    Raises `BadMarkError` if this program never writes such a value.
    """
    found = _texts(connection, mark)
    if not found:
        return None
    (text,) = found
    try:
        return mark.form.parse(text)
    except (ValueError, TypeError, AttributeError) as error:  # it may not even be text
        fault = f"value of row {mark.name!r} of table marks is {text!r:.60}"
        raise BadMarkError(fault) from error


def is_set(connection: Connection, mark: Mark[T]) -> bool:
    """Whether a mark is set, to any value."""
    return bool(_texts(connection, mark))


def write(connection: Connection, mark: Mark[T], value: T) -> None:
    """Set a mark. Several processes may do it at the same time."""
    prepared.execute(connection, _upsert(connection.dialect.name), _row(mark, value))


def write_once(connection: Connection, mark: Mark[T], value: T) -> None:
    """Set a mark, unless it is set."""
    if not is_set(connection, mark):
        statement = _insert_or_ignore(connection.dialect.name)
        prepared.execute(connection, statement, _row(mark, value))


def clear(connection: Connection, mark: Mark[T]) -> None:
    """Remove a mark, if it is set."""
    prepared.execute(connection, _delete(), {"mark": mark.name})


def _texts(connection: Connection, mark: Mark[T]) -> list[str]:
    """Return the text of a mark, in a list that is empty if the mark is not set."""
    return [row[0] for row in prepared.rows(connection, _value(), {"mark": mark.name})]


@statement
def _value() -> sql.Select[Any]:
    marks = tables.marks
    return sql.select(marks.c.value).where(marks.c.name == sql.bindparam("mark"))


@statement
def _upsert(dialect: str) -> Any:
    inserted = _inserted(dialect)
    return inserted.on_conflict_do_update(
        index_elements=["name"], set_={"value": inserted.excluded.value}
    )


@statement
def _insert_or_ignore(dialect: str) -> Any:
    return _inserted(dialect).on_conflict_do_nothing()


def _inserted(dialect: str) -> Any:
    return insert_for(dialect, tables.marks).values(parameters("name", "value"))


@statement
def _delete() -> sql.Delete:
    return sql.delete(tables.marks).where(tables.marks.c.name == sql.bindparam("mark"))


def _row(mark: Mark[T], value: T) -> dict[str, str]:
    return {"name": mark.name, "value": mark.form.write(value)}
