"""A sync that finds nothing to do. Most syncs are of this kind.

It imports neither SQLAlchemy nor any other slow module. It takes the lock, reads the note of the
last run (`pypimirror.catalog.queries.idle_snapshot`), asks the upstreams, and records itself. In
any doubt it changes nothing. Then the full command line starts from the beginning. Doubts are:
another command or option, a changed configuration, a lease, an unfinished file, or any answer of an
upstream other than "not modified".

Upstreams get little time to answer, because nothing is recorded before. A full run asks a slow
upstream again.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pypimirror.catalog.queries import idle_snapshot
from pypimirror.cli import plain
from pypimirror.cli.api import prefect_api
from pypimirror.config import sources
from pypimirror.domain.errors import PypimirrorError
from pypimirror.download.unchanged import is_unchanged
from pypimirror.storage import generation, lock
from pypimirror.system import interrupts, regular

if TYPE_CHECKING:
    from pypimirror.catalog.queries.idle_snapshot import Copied, Resting

#: Seconds that an upstream has for each step of its answer.
_PATIENCE = 2.0

#: The defaults of these keys, as in `pypimirror.config.sections`.
DIRECTORY, CATALOG, STORAGE = "mirror", "sqlite", "directory"


class _Asked(NamedTuple):
    """The options of the command line."""

    config: str = sources.DEFAULT_FILE
    as_json: bool = False
    quiet: bool = False
    inline: bool = False


def attempt(arguments: Sequence[str]) -> int | None:
    """Run the command if it is a sync that finds nothing to do.

    Returns the exit code. Returns None if nothing was done: then the full command line must run.
    """
    asked = _parse(arguments)
    if asked is None:
        return None
    began = time.time()
    interrupts.install()
    try:
        directory = _directory(asked.config)
        done = _look(asked, directory, began) if directory is not None else None
    except (OSError, ValueError, TypeError, LookupError, sqlite3.Error, PypimirrorError):
        return None  # the full command line meets the same error and explains it
    if directory is None or done is None:
        return None
    _tell(asked, directory, done, time.time() - began)
    interrupts.ignore()
    return 0


def is_inline_sync(arguments: Sequence[str]) -> bool:
    """Whether the command line is a plain sync in this process. False if that is not certain."""
    asked = _parse(arguments)
    return asked is not None and os.path.exists(asked.config)  # noqa: PTH110


def _parse(arguments: Sequence[str]) -> _Asked | None:
    options = plain.options(arguments)
    if options is None or arguments[0] != "sync":
        return None
    asked = _Asked(**options)
    return asked if asked.inline or prefect_api() is None else None


def _directory(file: str) -> str | None:
    """Return the mirror root of a configuration; None if catalog or files are somewhere else."""
    import tomllib

    content = regular.read_written(file).decode("utf-8-sig")
    section = tomllib.loads(content).get("mirror", {})
    if not isinstance(section, dict) or section.get("catalog", CATALOG) != CATALOG:
        return None
    if section.get("storage", STORAGE) != STORAGE:
        return None
    base = os.path.dirname(os.path.abspath(file))  # noqa: PTH100, PTH120
    # If a symbolic link is changed meanwhile, this run stays with the old mirror root.
    return os.path.realpath(os.path.join(base, section.get("directory", DIRECTORY)))  # noqa: PTH118


def _look(asked: _Asked, directory: str, now: float) -> Copied | None:
    """Record a run if there is nothing to do. Return None if there may be something to do."""
    private = f"{directory}/.pypimirror"
    if not _is_tidy(directory, private):
        return None
    key = sources.key(asked.config, regular.read_written(asked.config))
    if os.stat(f"{private}/catalog.sqlite").st_nlink > 1:  # noqa: PTH116
        return None  # `cp -al` has made a second mirror that shares this file
    with lock.hold(f"{private}/lock"), idle_snapshot.find(f"{private}/catalog.sqlite") as resting:
        if resting is None or resting.is_ahead(now):
            return None
        if not generation.is_of_root(*resting.generation(), directory):
            return None
        return _sync(resting, key, now)


def _sync(resting: Resting, key: str, now: float) -> Copied | None:
    note = resting.rest()
    if note is None or note.key != key or not note.since <= now < note.until:
        return None
    patience = min(_PATIENCE, note.timeout)
    if not all(is_unchanged(url, headers, patience) for url, headers in note.asked):
        return None
    with interrupts.shield():
        return resting.copy(note.run, now)


def _is_tidy(directory: str, private: str) -> bool:
    """Whether no file is half-written. Raises `OSError` if a directory is missing."""
    os.stat(f"{directory}/packages")  # noqa: PTH116
    os.stat(f"{directory}/simple")  # noqa: PTH116
    left = os.listdir(f"{private}/staging") + os.listdir(f"{private}/quarantine")  # noqa: PTH208
    return not left


def _tell(asked: _Asked, directory: str, done: Copied, seconds: float) -> None:
    """Print how the run ended, as the full command line does."""
    if asked.as_json:
        import json

        document: dict[str, Any] = {"run": done.name, "state": "completed", "counts": done.counts}
        document |= {"seconds": round(max(0.0, seconds), 3), "failures": [], "denied": []}
        print(json.dumps(document, indent=2, ensure_ascii=False), flush=True)
    elif not asked.quiet:
        from pathlib import Path

        from pypimirror.cli.display import show
        from pypimirror.pipeline.summary import Summary

        summary = Summary(
            done.name, "completed", done.counts, max(0.0, seconds), [], [], "", held=done.held
        )
        show.summary(summary, Path(directory))
