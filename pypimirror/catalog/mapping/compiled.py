"""Statements as a driver takes them."""

from __future__ import annotations

from typing import Any

import msgspec


class Compiled(msgspec.Struct, frozen=True):
    """A statement as a driver takes it."""

    text: str
    names: tuple[str, ...] | None  #: of its parameters, in their order; None: they go by name
    fixed: dict[str, Any]  #: parameters that the statement itself has
    lists: tuple[str, ...]  #: parameters that are lists
    flags: tuple[int, ...]  #: numbers of columns with Booleans, if the database has no such type


class CompiledAhead(msgspec.Struct, frozen=True):
    """What is compiled ahead of time, for SQLite."""

    schema: list[str]  #: statements that create the tables and their indexes
    statements: dict[str, Compiled]  #: by the name of the statement
