"""Commits of the catalog, seen from outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pypimirror.catalog.engines.servers import AlchemyEngine
from pypimirror.catalog.engines.sqlite import SqliteFile
from pypimirror.catalog.mapping.connection import Connection, Mode


def watch_commits(told: Callable[[], None], replace: Callable[..., None] = setattr) -> None:
    """Call `told` before each commit of a writing transaction. An error of it is the commit's.

    `replace` sets an attribute, as `setattr` and pytest's `monkeypatch.setattr` do.
    """
    for engine in (SqliteFile, AlchemyEngine):
        replace(engine, "begin", _watched(engine.begin, told))


def _watched(
    real: Callable[..., Connection], told: Callable[[], None]
) -> Callable[..., Connection]:
    def begin(engine: Any, mode: Mode = Mode()) -> Connection:  # noqa: B008 - immutable
        connection = real(engine, mode)
        if mode.writes:
            commit = connection.commit

            def watched() -> None:
                told()
                commit()

            connection.commit = watched  # type: ignore[method-assign]
        return connection

    return begin
