"""What a shell is offered behind a command: runs and projects, read from the mirror itself.

A shell waits for the answer while somebody types, so nothing heavy is imported and no page is
asked for; where there is no mirror, or it cannot be read, nothing is offered and nothing said.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import typer

#: Runs that are offered, the newest.
_RUNS = 20
#: Projects that are offered; more, nobody reads.
_PROJECTS = 200


def of_runs(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return names of runs that begin so, with what each was."""
    query = (
        "SELECT name, command || ' ' || state FROM runs WHERE substr(name, 1, ?) = ? "
        "ORDER BY id DESC LIMIT ?"
    )
    found = _ask(context, query, len(incomplete), incomplete, _RUNS)
    last = [("last", "the newest")] if "last".startswith(incomplete) else []
    return last + [(name, told) for name, told in found]


def of_projects(context: typer.Context, incomplete: str) -> list[str]:
    """Return names of projects of this mirror that begin so."""
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
    """Return the mirror root; None where nothing says where it is."""
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
