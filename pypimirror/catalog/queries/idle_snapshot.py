"""The idle snapshot: a note of a run that found nothing to do, for the next run.

Most runs find nothing to do. Imports would cost them ten times as much as their work. So a sync
that found nothing leaves a note in the catalog: its run, its requests to the upstreams, and the
time at which something becomes due. The next sync with the same arguments and configuration checks
the note, and records itself as a copy of that run (`pypimirror.cli.idle`). The rules:

* `pypimirror.pipeline.idle_snapshot` decides what is due, and when. This module decides nothing.
* Whoever takes the lease may change the mirror. The same transaction removes the note.
* The note counts only while nobody holds the lease. The copy is made in one transaction that sees
  this and keeps all other writers out. So it does not have to take the lease itself.

This module uses SQLite's own driver, because SQLAlchemy takes the longest to import. A test
compares its rows with those that SQLAlchemy writes.
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

#: Seconds to wait for another writer.
_PATIENCE = 5.0


class IdleSnapshot(NamedTuple):
    """The note for the next run. Times are in seconds since the epoch."""

    key: str  #: of the configuration and the program
    run: int  #: id of the run that wrote it
    since: float  #: when that run began
    until: float  #: when the first thing becomes due
    last_run: int  #: from this run id on, old runs must be deleted from the history
    asked: list[tuple[str, dict[str, str]]]  #: addresses of lists, and headers of the requests
    timeout: float  #: seconds that an upstream has to answer


class Copied(NamedTuple):
    """A run that was recorded as a copy."""

    name: str
    counts: dict[str, int]
    held: Totals  #: of the whole mirror


def encode(said: IdleSnapshot) -> str:
    """Return the note as the text of its mark."""
    return json.dumps(said)


class Resting:
    """An open catalog without a lease. Every method may raise `sqlite3.Error`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._newest = self._newest_run()

    def rest(self) -> IdleSnapshot | None:
        """Return the note, if there is one that still counts."""
        found = self._mark(marks.AT_REST)
        if found is None:
            return None
        rest = IdleSnapshot(*found)
        if self._newest >= rest.last_run or not any(_rows(self.connection, _MODEL, rest.run)):
            return None
        return rest._replace(asked=[(url, headers) for url, headers in rest.asked])

    def generation(self) -> tuple[str | None, str | None]:
        """Return the generation of this catalog, and the reason if that is in doubt."""
        return self._text(marks.GENERATION), self._text(marks.DOUBT)

    def is_ahead(self, now: float) -> bool:
        """Whether the history has times in the future. Then a full run has to check them."""
        query = "SELECT 1 FROM runs WHERE max(started_at, coalesce(ended_at, 0)) > ? LIMIT 1"
        return self.connection.execute(query, (now + clock.SLACK,)).fetchone() is not None

    def copy(self, run: int, now: float) -> Copied | None:
        """Record a run that began at `now` as a copy of `run`.

        The caller has checked that there is nothing to do. Returns None, and records nothing, if
        somebody worked on the mirror meanwhile.
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
            today = int(ended // clock.DAY)
            connection.execute("UPDATE days SET runs = runs + 1 WHERE day = ?", (today,))
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
    """Open the catalog at `file`; yield None if somebody holds the lease.

    Raises `sqlite3.Error`, also if there is no such catalog.
    """
    options = {"timeout": _PATIENCE, "isolation_level": None}
    with closing(sqlite3.connect(f"file:{_quoted(file)}?mode=rw", uri=True, **options)) as base:  # type: ignore[call-overload]
        base.execute("PRAGMA synchronous = NORMAL")
        base.execute("PRAGMA foreign_keys = ON")
        yield None if _is_held(base) else Resting(base)


def name_of_run(now: float) -> str:
    """Return a name for a run that began at `now`. Names sort by time."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{secrets.token_hex(3)}"


def text_of(connection: sqlite3.Connection, mark: Mark[Any]) -> str | None:
    """Return the text of a mark; None if it is not set."""
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
    """Insert a row under a new id; return the id."""
    values = {name: value for name, value in row.items() if name != "id"}
    names = ", ".join(f'"{name}"' for name in values)
    places = ", ".join("?" * len(values))
    statement = f"INSERT INTO {table} ({names}) VALUES ({places})"  # noqa: S608 - the catalog's own words
    return int(connection.execute(statement, list(values.values())).lastrowid or 0)


def _quoted(path: str) -> str:
    """Return a path with the escapes of an SQLite address."""
    return "".join(f"%{ord(one):02x}" if one in "%?#" else one for one in path)
