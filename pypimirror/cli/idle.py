"""A sync that finds nothing to do. Most syncs are of this kind.

It imports neither SQLAlchemy nor anything else that is slow. It takes the lock, reads the note that
the last run left (`pypimirror.catalog.queries.idle_snapshot`), asks the upstreams, and records
itself. In every doubt it changes nothing and leaves the work to the full command line, which starts
from the beginning and has all the messages. Doubts are: another command or option, a changed
configuration, a lease, an unfinished file, or any answer of an upstream but "not modified".

It records nothing before the upstreams have answered, so they have little time. A full run asks a
slow upstream again.
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

#: What stands in the configuration where nothing does, as `pypimirror.config.sections` has it.
DIRECTORY, CATALOG = "mirror", "sqlite"


class _Asked(NamedTuple):
    """What the command line asks for."""

    config: str = sources.DEFAULT_FILE
    as_json: bool = False
    quiet: bool = False
    inline: bool = False


def attempt(arguments: Sequence[str]) -> int | None:
    """Do what the command line asks for, where it is a sync that finds nothing to do.

    Returns the exit code; None where nothing was done, and the command line proper is needed.
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
        return None  # to be met again, and told, by those who know what it means
    if directory is None or done is None:
        return None
    _tell(asked, directory, done, time.time() - began)
    interrupts.ignore()
    return 0


def is_inline_sync(arguments: Sequence[str]) -> bool:
    """Whether the command line asks for a sync in this process, as far as that is known here."""
    asked = _parse(arguments)
    return asked is not None and os.path.exists(asked.config)  # noqa: PTH110


def _parse(arguments: Sequence[str]) -> _Asked | None:
    options = plain.options(arguments)
    if options is None or arguments[0] != "sync":
        return None
    asked = _Asked(**options)
    return asked if asked.inline or prefect_api() is None else None


def _directory(file: str) -> str | None:
    """Return the mirror root that a configuration names; None where its catalog is elsewhere."""
    import tomllib

    content = regular.read_written(file).decode("utf-8-sig")
    section = tomllib.loads(content).get("mirror", {})
    if not isinstance(section, dict) or section.get("catalog", CATALOG) != CATALOG:
        return None
    base = os.path.dirname(os.path.abspath(file))  # noqa: PTH100, PTH120
    # A link to another mirror root, made meanwhile, changes nothing for this one.
    return os.path.realpath(os.path.join(base, section.get("directory", DIRECTORY)))  # noqa: PTH118


def _look(asked: _Asked, directory: str, now: float) -> Copied | None:
    """See whether there is nothing to do, and record that; None: there may be something."""
    private = f"{directory}/.pypimirror"
    if not _is_tidy(directory, private):
        return None
    key = sources.key(asked.config, regular.read_written(asked.config))
    if os.stat(f"{private}/catalog.sqlite").st_nlink > 1:  # noqa: PTH116
        return None  # `cp -al` has made another mirror of this one
    with lock.hold(f"{private}/lock"), idle_snapshot.find(f"{private}/catalog.sqlite") as resting:
        if resting is None or resting.is_ahead(now):
            return None
        if not generation.is_of_root(*resting.generation(), directory):
            return None
        return _sync(resting, key, now)


def _sync(resting: Resting, key: str, now: float) -> Copied | None:
    said = resting.rest()
    if said is None or said.key != key or not said.since <= now < said.until:
        return None
    patience = min(_PATIENCE, said.timeout)
    if not all(is_unchanged(url, headers, patience) for url, headers in said.asked):
        return None
    with interrupts.shield():
        return resting.copy(said.run, now)


def _is_tidy(directory: str, private: str) -> bool:
    """Whether everything is there, and nothing half-written. Raises `OSError` where it is not."""
    os.stat(f"{directory}/packages")  # noqa: PTH116
    os.stat(f"{directory}/simple")  # noqa: PTH116
    left = os.listdir(f"{private}/staging") + os.listdir(f"{private}/quarantine")  # noqa: PTH208
    return not left and not any(name.startswith("page.") for name in os.listdir(private))  # noqa: PTH208


def _tell(asked: _Asked, directory: str, done: Copied, seconds: float) -> None:
    """Print how it ended, as the command line proper does."""
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
