"""How the catalog stores the addresses of files: without the file name, if they end with it.

Most addresses do. In the largest index this saves a tenth of the catalog. A mark replaces the name:
a space, which no address contains (`upstream.checks.resolve` quotes it). Reading the column adds
the name again in every query; `shortened` removes it for writing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Text, case, func
from sqlalchemy.types import TypeDecorator

_MARK = " "


class AddressType(TypeDecorator[str]):
    """The type of an address in a table with a column `filename`. It is text in the database."""

    impl = Text
    cache_ok = True

    def column_expression(self, column: Any) -> ColumnElement[str]:
        """Return the expression that is read instead of the column."""
        is_short = column.like(f"%{_MARK}")
        return case((is_short, func.rtrim(column) + column.table.c.filename), else_=column)


def shortened(row: Mapping[str, Any]) -> str:
    """Return the text to store for the address of a file. The row has its `url` and `filename`."""
    url, filename = row["url"], row["filename"]
    return f"{url.removesuffix(filename)}{_MARK}" if url.endswith(f"/{filename}") else url
