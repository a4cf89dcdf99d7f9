"""The statements that are compiled ahead are those of the program."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgspec
import pytest
from sqlalchemy import Select, bindparam, select

from docs.generate import statements
from pypimirror.catalog import schema
from pypimirror.catalog.mapping import compiling, prepared
from pypimirror.catalog.mapping.compiled import CompiledAhead
from pypimirror.catalog.mapping.prepared import statement

KNOWN = msgspec.json.decode(prepared.KNOWN.read_bytes(), type=CompiledAhead)


class Colour(IntEnum):
    """A choice."""

    RED = 1
    BLUE = 2


def test_what_is_compiled_ahead_is_current() -> None:
    """Else SQLite would execute the statements of an older program. `make docs` writes it."""
    assert statements.known() == prepared.KNOWN.read_text("utf-8")


def test_each_statement_has_a_name_of_its_own() -> None:
    names = [each.name for each in statements.every("sqlite")]
    assert len(names) == len(set(names)) > 100


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_each_statement_can_be_compiled_for_each_database(dialect: str) -> None:
    found = compiling.dialect_of(dialect)
    texts = [compiling.compile_for(found, each.build()).text for each in statements.every(dialect)]
    assert all(texts)


def test_a_known_statement_needs_no_expression() -> None:
    def build() -> Any:
        raise AssertionError("it is known")

    name = next(iter(KNOWN.statements))
    compiled = prepared._compiled(prepared.Statement(name, build), "sqlite")
    assert compiled == KNOWN.statements[name]


def test_every_choice_of_a_function_is_a_statement() -> None:
    @statement
    def _chosen(colour: Colour, dialect: str, *, named: bool) -> Select[Any]:
        query = select(schema.marks.c.name).where(schema.marks.c.value == str(int(colour)))
        return query.where(schema.marks.c.name == bindparam("name")) if named else query

    @statement
    def _open(limit: int) -> Select[Any]:
        return select(schema.marks.c.name).limit(limit)

    found = [each.name.partition("(")[2] for each in statements.every("sqlite", __name__)]
    assert found == [
        "1, sqlite, named=False)",
        "1, sqlite, named=True)",
        "2, sqlite, named=False)",
        "2, sqlite, named=True)",
    ]
    assert _chosen(Colour.RED, "sqlite", named=True).name.endswith(found[1])
