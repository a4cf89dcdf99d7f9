"""Read and write marks. `pypimirror.catalog.marks` defines them."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

from sqlalchemy import Connection, Delete, Insert, Select, bindparam, delete, select

from pypimirror.catalog.mapping import prepared
from pypimirror.catalog.mapping.inserts import insert_for, insert_or_ignore
from pypimirror.catalog.marks import Mark
from pypimirror.catalog.schema import marks

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
        connection.execute(insert_or_ignore(connection, marks), [_row(mark, value)])


def clear(connection: Connection, mark: Mark[T]) -> None:
    """Remove a mark, if it is set."""
    prepared.execute(connection, _delete(), {"mark": mark.name})


def _texts(connection: Connection, mark: Mark[T]) -> list[str]:
    """Return the text of a mark, in a list that is empty if the mark is not set."""
    return [row[0] for row in prepared.rows(connection, _value(), {"mark": mark.name})]


@cache
def _value() -> Select[str]:
    return select(marks.c.value).where(marks.c.name == bindparam("mark"))


@cache
def _upsert(dialect: str) -> Insert:
    columns: dict[str, Any] = {name: bindparam(name) for name in ("name", "value")}
    statement = insert_for(dialect, marks).values(columns)
    found: Insert = statement.on_conflict_do_update(
        index_elements=["name"], set_={"value": statement.excluded.value}
    )
    return found


@cache
def _delete() -> Delete:
    return delete(marks).where(marks.c.name == bindparam("mark"))


def _row(mark: Mark[T], value: T) -> dict[str, str]:
    return {"name": mark.name, "value": mark.form.write(value)}
