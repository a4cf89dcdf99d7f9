"""A mirror at rest: what a run that found nothing to do has said of the next one.

Most runs find nothing to do, and importing what could do something costs them ten times as much
as their work. So a sync that found nothing to do leaves a statement in the catalog: which run it
was, what the upstreams were asked, and until when nothing becomes due by itself. The next sync
that is asked the same way holds that against the world, and records itself as a copy of that run
(`pypimirror.cli.resting`). The rules:

* What is due, and when, is decided in `pypimirror.stages.rest`, with what the stages know; here
  nothing is decided.
* Whoever takes the lease may change something: with that the statement is gone.
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

from pypimirror import kernel

#: The mark that is the statement.
MARK = "at rest"

#: Seconds that anybody who writes is waited for.
_PATIENCE = 5.0


class Rest(NamedTuple):
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


def encode(rest: Rest) -> str:
    """Return a statement as the catalog keeps it."""
    return json.dumps(rest)


class Resting:
    """A catalog of which the statement was found. Every method may raise `sqlite3.Error`."""

    def __init__(self, connection: sqlite3.Connection, rest: Rest) -> None:
        self.rest = rest
        self._connection = connection

    def copy(self, now: float) -> Copied | None:
        """Record a run that began at `now` and has found nothing to do; None: it may not say so.

        That it has found nothing is for the caller to know.
        """
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            model = _model(connection, self.rest)
            if model is None or _find(connection) != self.rest:
                return None
            name = name_of_run(now)
            ended = time.time()
            change: dict[str, Any] = {
                "name": name,
                "host": kernel.host(),
                "boot": kernel.boot() or None,
            }
            change |= {"pid": os.getpid(), "started_at": now, "ended_at": ended}
            run_id = _insert(connection, "runs", model | change)
            stages = "SELECT * FROM stages WHERE run_id = ? ORDER BY id"
            for row in list(_rows(connection, stages, self.rest.run)):
                times = {"run_id": run_id, "started_at": now, "ended_at": ended}
                _insert(connection, "stages", row | times)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        return Copied(name, json.loads(model["counts"]))


@contextmanager
def find(file: str) -> Iterator[Resting | None]:
    """Give the statement in the catalog at `file`, if there is one and it can be believed now.

    Raises `sqlite3.Error`, also where there is no such catalog.
    """
    options = {"timeout": _PATIENCE, "isolation_level": None}
    with closing(sqlite3.connect(f"file:{_quoted(file)}?mode=rw", uri=True, **options)) as base:  # type: ignore[call-overload]
        base.execute("PRAGMA synchronous = NORMAL")
        base.execute("PRAGMA foreign_keys = ON")
        rest = _find(base)
        yield Resting(base, rest) if rest is not None and _model(base, rest) else None


def name_of_run(now: float) -> str:
    """Return a name for a run that began at `now`, which sorts by time."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{secrets.token_hex(2)}"


def _find(connection: sqlite3.Connection) -> Rest | None:
    row = connection.execute("SELECT value FROM marks WHERE name = ?", (MARK,)).fetchone()
    if row is None or connection.execute("SELECT 1 FROM leases").fetchone():
        return None
    rest = Rest(*json.loads(row[0]))
    return rest._replace(asked=[(url, headers) for url, headers in rest.asked])


def _model(connection: sqlite3.Connection, rest: Rest) -> dict[str, Any] | None:
    """Return the row of the run that made the statement, as long as that may be copied."""
    newest = connection.execute("SELECT max(id) FROM runs").fetchone()[0] or 0
    if newest >= rest.last_run:
        return None
    of_sync = "SELECT * FROM runs WHERE id = ? AND command = 'sync' AND \"trigger\" = 'inline'"
    return next(_rows(connection, f"{of_sync} AND state = 'completed'", rest.run), None)


def _rows(connection: sqlite3.Connection, query: str, value: int) -> Iterator[dict[str, Any]]:
    cursor = connection.execute(query, (value,))
    names = [column[0] for column in cursor.description]
    for row in cursor:
        yield dict(zip(names, row, strict=True))


def _insert(connection: sqlite3.Connection, table: str, row: dict[str, Any]) -> int:
    """Insert a row under a new id, and return that."""
    values = {name: value for name, value in row.items() if name != "id"}
    names = ", ".join(f'"{name}"' for name in values)
    marks = ", ".join("?" * len(values))
    statement = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - the catalog's own words
    return int(connection.execute(statement, list(values.values())).lastrowid or 0)


def _quoted(path: str) -> str:
    """Write a path as SQLite's addresses have it."""
    return "".join(f"%{ord(one):02x}" if one in "%?#" else one for one in path)
