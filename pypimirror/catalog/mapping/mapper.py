"""Map records to tables and back: each class of `pypimirror.catalog.records` describes a table.

A table is derived from its record, and a query reads a record by the names of its fields. So no
other place lists the columns of a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Float,
    ForeignKey,
    LargeBinary,
    MetaData,
    Select,
    Table,
    Text,
    select,
)
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

from pypimirror.catalog.mapping import prepared
from pypimirror.catalog.mapping.flags import Flag
from pypimirror.catalog.mapping.prepared import Statement


class Record(msgspec.Struct, frozen=True, gc=False):
    """A row as the rest of the program sees it. Its fields are columns."""


R = TypeVar("R", bound=Record)


class Stored(NamedTuple):
    """The properties of a column that the type of its field does not say."""

    type: TypeEngine[Any] | None = None  #: None: the default for the type of the field
    primary_key: bool = False
    given: bool = False  #: a primary key that the database does not count up
    unique: bool = False
    indexed: bool = False
    references: str = ""  #: the column that a foreign key refers to


#: The default column type for each type of a field.
_TYPES: dict[type, TypeEngine[Any]] = {
    str: Text(),
    int: BigInteger(),
    float: Float(),
    bytes: LargeBinary(),
    bool: Flag(),
}


def table(name: str, metadata: MetaData, record: type[Record], *more: SchemaItem) -> Table:
    """Return the table of a record. `more` are constraints over several columns."""
    hints = get_type_hints(record, include_extras=True)
    columns = (_column(field, hints[field]) for field in record.__struct_fields__)
    return Table(name, metadata, *columns, *more)


def _column(name: str, hint: Any) -> Column[Any]:
    nullable = False
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (kind for kind in get_args(hint) if kind is not NoneType)
        nullable = True
    stored = Stored()
    if get_origin(hint) is Annotated:
        hint, stored = get_args(hint)
    return Column(
        name,
        stored.type or _TYPES[hint],
        *([ForeignKey(stored.references)] if stored.references else []),
        primary_key=stored.primary_key,
        autoincrement=False if stored.given else "auto",
        nullable=nullable,
        unique=stored.unique or None,
        index=stored.indexed or None,
    )


def select_record(record: type[Record], source: Table, **others: ColumnElement[Any]) -> Select[Any]:
    """Return a query for the columns of a record: those of `source`, or `others` by name."""
    fields = record.__struct_fields__
    return select(
        *(others[name].label(name) if name in others else source.c[name] for name in fields)
    )


def read(connection: Connection, query: Select[Any], record: type[R]) -> Iterator[R]:
    """Stream the records of this class that a query of `select_record` finds."""
    make: Callable[..., R] = record
    for row in connection.execute(query):
        yield make(*row)


def read_all(
    connection: Connection, query: Statement, record: type[R], values: Mapping[str, Any]
) -> list[R]:
    """Return the records of this class that a query of `select_record` finds."""
    make: Callable[..., R] = record
    return [make(*row) for row in prepared.rows(connection, query, values)]


def stream(
    connection: Connection, query: Statement, record: type[R], values: Mapping[str, Any]
) -> Iterator[R]:
    """Like `read_all`, for records that may be too many for the memory."""
    make: Callable[..., R] = record
    for row in prepared.stream(connection, query, values):
        yield make(*row)


def read_first(
    connection: Connection, query: Statement, record: type[R], values: Mapping[str, Any]
) -> R | None:
    """Return the first record that a query of `select_record` finds, or None."""
    return next(iter(read_all(connection, query, record, values)), None)


def first(connection: Connection, query: Select[Any], record: type[R]) -> R | None:
    """Return the first record that a query of `select_record` finds, or None."""
    make: Callable[..., R] = record
    row = connection.execute(query.limit(1)).first()
    return None if row is None else make(*row)
