"""The type of a row of which only the reader knows the columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Row

# SQLAlchemy 2.1 counts a row's columns in its type, 2.0 has a tuple there: this holds in both.
if TYPE_CHECKING:
    AnyRow = Row[*tuple[Any, ...]]
else:
    AnyRow = Row
