"""`sync` and `verify` where nothing is to be done, which is most of the time.

Everything that could do something takes ten times as long to import as this takes to see that
there is nothing to do. The order: the lock, the statement that the last run left
(`pypimirror.catalog.queries.idle_snapshot`), the upstreams, the record. Whatever is not plainly at
rest (another command, an option that is not known here, a configuration that has changed, a lease,
something half-written, an upstream that says anything else than "not modified") is left, untouched,
to the command line proper, which begins anew and has all the messages.

Nothing is recorded before the upstreams have answered, for which they have little time here: a
slow one is asked again by a run that is on record.
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

    command: str
    config: str = sources.DEFAULT_FILE
    as_json: bool = False
    quiet: bool = False
    inline: bool = False
    quick: bool = False


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
    if asked is None or asked.command != "sync":
        return False
    return os.path.exists(asked.config)  # noqa: PTH110


def _parse(arguments: Sequence[str]) -> _Asked | None:
    options = plain.options(arguments)
    if options is None:
        return None
    asked = _Asked(arguments[0], **options)
    inline = asked.command == "verify" or asked.inline or prefect_api() is None
    return asked if inline else None


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
        if asked.command == "sync":
            return _sync(resting, key, now)
        return _verify(resting, key, directory, now, quick=asked.quick)


def _sync(resting: Resting, key: str, now: float) -> Copied | None:
    said = resting.rest()
    if said is None or said.key != key or not said.since <= now < said.until:
        return None
    patience = min(_PATIENCE, said.timeout)
    if not all(is_unchanged(url, headers, patience) for url, headers in said.asked):
        return None
    with interrupts.shield():
        return resting.copy(said.run, now)


def _verify(
    resting: Resting, key: str, directory: str, now: float, *, quick: bool
) -> Copied | None:
    from pypimirror.catalog.queries import holdings
    from pypimirror.cli import untouched

    ended = resting.ended()
    if ended is None or ended.key != key or (ended.until is not None and ended.until <= now):
        return None
    model = resting.last_check(ended, '["--quick"]' if quick else "[]")
    held = holdings.read(resting.connection) if model is not None else None
    if model is None or held is None or not untouched.all_of(held, directory, ended.formats):
        return None
    if not quick and not untouched.every_byte_of(held, directory, ended.formats, ended.processes):
        return None
    checked, size = held.number, 0 if quick else held.size
    prove = holdings.prove if not quick else lambda *_: None
    with interrupts.shield():
        return resting.copy(
            model, now, lambda base: prove(base, now), files_checked=checked, bytes_checked=size
        )


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
        if asked.command == "verify":
            show.checked(summary)
        else:
            show.summary(summary, Path(directory))
