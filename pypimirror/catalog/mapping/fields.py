"""What the fields of a record say about the columns of its table."""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Record(msgspec.Struct, frozen=True, gc=False):
    """A row as the rest of the program sees it. Its fields are columns."""


class Stored(NamedTuple):
    """The properties of a column that the type of its field does not say."""

    type: str = ""  #: a name in `mapping.columns`; "": the default for the type of the field
    primary_key: bool = False
    given: bool = False  #: a primary key that the database does not count up
    unique: bool = False
    indexed: bool = False
    references: str = ""  #: the column that a foreign key refers to
