"""The statements of the catalog and its tables, compiled for SQLite: `known.json`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from enum import Enum
from importlib import import_module
from inspect import signature
from itertools import product
from pathlib import Path
from pkgutil import walk_packages
from typing import Any, get_type_hints

import msgspec
from sqlalchemy.schema import CreateIndex, CreateTable

import pypimirror.catalog
from pypimirror.catalog.mapping import compiling, prepared
from pypimirror.catalog.mapping.compiled import CompiledAhead
from pypimirror.catalog.mapping.prepared import Statement
from pypimirror.catalog.schema import metadata


def known() -> str:
    """Return the statements and the schema for SQLite, as JSON."""
    dialect = compiling.dialect_of("sqlite")
    schema: list[str] = []
    for table in metadata.sorted_tables:
        schema.append(str(CreateTable(table).compile(dialect=dialect)).strip())
        for index in sorted(table.indexes, key=lambda each: str(each.name)):
            schema.append(str(CreateIndex(index).compile(dialect=dialect)))
    statements = {
        each.name: compiling.compile_for(dialect, each.build()) for each in every("sqlite")
    }
    found = CompiledAhead(schema=schema, statements=dict(sorted(statements.items())))
    return json.dumps(msgspec.to_builtins(found), indent=1) + "\n"


def every(dialect: str, package: str = "pypimirror.catalog") -> Iterator[Statement]:
    """Yield the statements of a package, each with all choices of its function."""
    folder = Path(pypimirror.catalog.__file__).parent
    for module in walk_packages([str(folder)], "pypimirror.catalog."):
        import_module(module.name)
    for build, named in prepared.declared:
        if not f"{build.__module__}.".startswith(f"{package}."):
            continue
        choices = _choices(build, dialect)
        for chosen in product(*choices.values()):
            given = dict(zip(choices, chosen, strict=True))
            of_name = {n: given.pop(n) for n in _keywords(build)}
            yield named(*given.values(), **of_name)


def _keywords(build: Callable[..., Any]) -> list[str]:
    parameters = signature(build).parameters.values()
    return [each.name for each in parameters if each.kind == each.KEYWORD_ONLY]


def _choices(build: Callable[..., Any], dialect: str) -> dict[str, list[Any]]:
    """Return the values of each parameter of a function. Empty ones: it is not compiled ahead."""
    hints = get_type_hints(build)
    return {name: _values(name, hints[name], dialect) for name in signature(build).parameters}


def _values(name: str, hint: Any, dialect: str) -> list[Any]:
    if name == "dialect":
        return [dialect]
    if hint is bool:
        return [False, True]
    return list(hint) if isinstance(hint, type) and issubclass(hint, Enum) else []
