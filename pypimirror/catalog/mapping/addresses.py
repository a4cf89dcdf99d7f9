"""How the catalog keeps the addresses of files: without the file's name, where they end in it.

Most do, and in the largest index that is a tenth of the catalog. A mark stands for the name then:
a space, which no address has (`upstream.checks.resolve` quotes it). Reading puts the name back,
wherever a query names the column; writing leaves it out here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Text, case, func
from sqlalchemy.types import TypeDecorator

_MARK = " "


class Address(TypeDecorator[str]):
    """The type of an address in a table that has a column `filename`; text in the database."""

    impl = Text
    cache_ok = True

    def column_expression(self, column: Any) -> ColumnElement[str]:
        """Return what is read in place of the column."""
        is_short = column.like(f"%{_MARK}")
        return case((is_short, func.rtrim(column) + column.table.c.filename), else_=column)


def shortened(row: Mapping[str, Any]) -> str:
    """Return what is written of the address of a file, given with its name."""
    url, filename = row["url"], row["filename"]
    return f"{url.removesuffix(filename)}{_MARK}" if url.endswith(f"/{filename}") else url
