"""Shell completion of runs and projects, read from the mirror itself.

The shell waits while somebody types, so this imports nothing heavy and asks no upstream. If there
is no mirror, or it cannot be read, completion offers nothing and stays silent.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import typer

#: How many runs to offer, the newest first.
_RUNS = 20
#: How many projects to offer; nobody reads more.
_PROJECTS = 200


def of_runs(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the runs whose names begin with `incomplete`: name, and command with state."""
    query = (
        "SELECT name, command || ' ' || state FROM runs WHERE substr(name, 1, ?) = ? "
        "ORDER BY id DESC LIMIT ?"
    )
    found = _ask(context, query, len(incomplete), incomplete, _RUNS)
    last = [("last", "the newest")] if "last".startswith(incomplete) else []
    return last + [(name, told) for name, told in found]


def of_projects(context: typer.Context, incomplete: str) -> list[str]:
    """Return the mirror's projects whose names begin with `incomplete`."""
    directory = _directory(context)
    try:
        names = os.listdir(directory / "simple") if directory is not None else []  # noqa: PTH208
    except OSError:
        return []
    found = (name for name in names if name.startswith(incomplete) and "." not in name)
    return sorted(found)[:_PROJECTS]


def _ask(context: typer.Context, query: str, *parameters: object) -> list[tuple[str, str]]:
    directory = _directory(context)
    if directory is None:
        return []
    file = directory / ".pypimirror" / "catalog.sqlite"
    try:
        with closing(
            sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
        ) as connection:
            return connection.execute(query, parameters).fetchall()
    except (sqlite3.Error, OSError):
        return []


def _directory(context: typer.Context) -> Path | None:
    """Return the mirror root that the configuration names; None if that cannot be read."""
    import tomllib

    from pypimirror.config import sources
    from pypimirror.system import texts

    file = Path(context.params.get("config") or sources.DEFAULT_FILE)
    try:
        section = tomllib.loads(texts.read(file)).get("mirror", {})
        directory: str = section.get("directory", "mirror")
        return file.parent / directory
    except (OSError, ValueError, AttributeError, TypeError):
        return None
