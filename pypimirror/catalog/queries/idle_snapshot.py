"""A mirror at rest: what a run that found nothing to do has said of the next one.

Most runs find nothing to do, and importing what could do something costs them ten times as much
as their work. So a sync that found nothing to do leaves a statement in the catalog: which run it
was, what the upstreams were asked, and until when nothing becomes due by itself. The next sync
that is asked the same way holds that against the world, and records itself as a copy of that run
(`pypimirror.cli.idle`). The rules:

* What is due, and when, is decided in `pypimirror.pipeline.idle_snapshot`, with what the stages
  know; here nothing is decided.
* Whoever takes the lease may change something: with that what was said is gone.
* It is believed only while nobody holds the lease, which is seen, as the copy is made, in one
  transaction that keeps all other writers out: to take the lease and give it back in it would
  change nothing.

SQLite alone, through its driver: SQLAlchemy is what takes the longest to import. A test holds
what is written here against what SQLAlchemy writes.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from pypimirror import __version__
from pypimirror.catalog import marks
from pypimirror.catalog.marks import Mark
from pypimirror.catalog.mirror_totals import Totals
from pypimirror.system import clock, machine

_MODEL = """
SELECT * FROM runs WHERE id = ? AND state = 'completed' AND "trigger" = 'inline'
"""
_STAGES = "SELECT * FROM stages WHERE run_id = ? ORDER BY id"

#: Seconds that anybody who writes is waited for.
_PATIENCE = 5.0


class IdleSnapshot(NamedTuple):
    """What a run that found nothing to do says of the next one. Times in seconds, as of runs."""

    key: str  #: of the configuration and the program
    run: int  #: which run it was
    since: float  #: when it began
    until: float  #: nothing becomes due by itself before
    last_run: int  #: beyond this number, old runs are to be forgotten
    asked: list[tuple[str, dict[str, str]]]  #: addresses of lists, with headers that ask for news
    timeout: float  #: seconds that an upstream has for an answer


class Copied(NamedTuple):
    """A run that was recorded, of one that found nothing to do either."""

    name: str
    counts: dict[str, int]
    held: Totals  #: what the mirror holds


def encode(said: IdleSnapshot) -> str:
    """Return a statement as the catalog keeps it."""
    return json.dumps(said)


class Resting:
    """An open catalog that nobody works on. Every method may raise `sqlite3.Error`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._newest = self._newest_run()

    def rest(self) -> IdleSnapshot | None:
        """Return what the last run said of the next one, if it found nothing to do."""
        found = self._mark(marks.AT_REST)
        if found is None:
            return None
        rest = IdleSnapshot(*found)
        if self._newest >= rest.last_run or not any(_rows(self.connection, _MODEL, rest.run)):
            return None
        return rest._replace(asked=[(url, headers) for url, headers in rest.asked])

    def generation(self) -> tuple[str | None, str | None]:
        """Return which generation this catalog is of, and why there is a doubt about that."""
        return self._text(marks.GENERATION), self._text(marks.DOUBT)

    def is_ahead(self, now: float) -> bool:
        """Whether a clock was ahead, so that a whole run has to look at what was noted then."""
        query = "SELECT 1 FROM runs WHERE max(started_at, coalesce(ended_at, 0)) > ? LIMIT 1"
        return self.connection.execute(query, (now + clock.SLACK,)).fetchone() is not None

    def copy(self, run: int, now: float) -> Copied | None:
        """Record a run that began at `now` and went as `run` did. None: it may not say so.

        The caller must know that it went so.
        """
        connection = self.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            model = next(_rows(connection, _MODEL, run), None)
            if model is None or _is_held(connection) or self._newest_run() != self._newest:
                return None
            ended = time.time()
            change: dict[str, Any] = {"name": name_of_run(now), "version": __version__}
            change |= {"host": machine.host(), "boot": machine.boot() or None, "pid": os.getpid()}
            times = {"started_at": now, "ended_at": ended}
            row = model | change | times
            run_id = _insert(connection, "runs", row)
            for stage in list(_rows(connection, _STAGES, run)):
                _insert(connection, "stages", stage | times | {"run_id": run_id})
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        held = marks.HELD.form.parse(self._text(marks.HELD) or "")
        return Copied(row["name"], json.loads(row["counts"]), held)

    def _mark(self, mark: Mark[str]) -> list[Any] | None:
        text = self._text(mark)
        return None if text is None else list(json.loads(text))

    def _text(self, mark: Mark[Any]) -> str | None:
        return text_of(self.connection, mark)

    def _newest_run(self) -> int:
        return int(self.connection.execute("SELECT max(id) FROM runs").fetchone()[0] or 0)


@contextmanager
def find(file: str) -> Iterator[Resting | None]:
    """Give the catalog at `file`, if nobody works on it.

    Raises `sqlite3.Error`, also where there is no such catalog.
    """
    options = {"timeout": _PATIENCE, "isolation_level": None}
    with closing(sqlite3.connect(f"file:{_quoted(file)}?mode=rw", uri=True, **options)) as base:  # type: ignore[call-overload]
        base.execute("PRAGMA synchronous = NORMAL")
        base.execute("PRAGMA foreign_keys = ON")
        yield None if _is_held(base) else Resting(base)


def name_of_run(now: float) -> str:
    """Return a name for a run that began at `now`, which sorts by time."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{secrets.token_hex(3)}"


def text_of(connection: sqlite3.Connection, mark: Mark[Any]) -> str | None:
    """Return a mark's value as it is written."""
    query = "SELECT value FROM marks WHERE name = ?"
    row = connection.execute(query, (mark.name,)).fetchone()
    return None if row is None else str(row[0])


def _is_held(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM leases").fetchone() is not None


def _rows(connection: sqlite3.Connection, query: str, value: int) -> Iterator[dict[str, Any]]:
    cursor = connection.execute(query, (value,))
    names = [column[0] for column in cursor.description]
    for row in cursor:
        yield dict(zip(names, row, strict=True))


def _insert(connection: sqlite3.Connection, table: str, row: dict[str, Any]) -> int:
    """Insert a row under a new id, and return that."""
    values = {name: value for name, value in row.items() if name != "id"}
    names = ", ".join(f'"{name}"' for name in values)
    places = ", ".join("?" * len(values))
    statement = f"INSERT INTO {table} ({names}) VALUES ({places})"  # noqa: S608 - the catalog's own words
    return int(connection.execute(statement, list(values.values())).lastrowid or 0)


def _quoted(path: str) -> str:
    """Write a path as SQLite's addresses have it."""
    return "".join(f"%{ord(one):02x}" if one in "%?#" else one for one in path)
