"""Derive tables from records: the types of columns, and what the fields say about them."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
)
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

from pypimirror.catalog.mapping.fields import Record, Stored
from pypimirror.catalog.mapping.types import AddressType, Flag

#: SQLite only counts up keys of the type INTEGER. On PostgreSQL, 2^31 files could be too few.
KEY = BigInteger().with_variant(Integer, "sqlite")

#: The types that `Stored` names.
_NAMED: dict[str, TypeEngine[Any]] = {
    "key": KEY,
    "small": SmallInteger(),
    "medium": Integer(),
    "address": AddressType(),
}

#: The default type for each type of a field.
_DEFAULTS: dict[type, TypeEngine[Any]] = {
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
        _NAMED[stored.type] if stored.type else _DEFAULTS[hint],
        *([ForeignKey(stored.references)] if stored.references else []),
        primary_key=stored.primary_key,
        autoincrement=False if stored.given else "auto",
        nullable=nullable,
        unique=stored.unique or None,
        index=stored.indexed or None,
    )
