"""Statistics on the mirror as a whole, for metrics.

The ages of proofs can only be found by reading all rows of files. If a run has changed proofs, it
does this at its end and stores the result in a mark. If that takes long, it is done once a day and
after each verification. All other queries are bounded or use an index; see also `totals`.
"""

from __future__ import annotations

import time
from typing import Any

from pypimirror.catalog.figures.statistics import AGES, Statistics
from pypimirror.catalog.mapping import mapper, prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.prepared import statement
from pypimirror.catalog.marks import STATISTICS
from pypimirror.catalog.queries import marks, runs
from pypimirror.catalog.queries.projects import is_in
from pypimirror.catalog.records import RunRecord
from pypimirror.catalog.states import COMPLETED, DENIED, OPEN, PROVEN, RUNNING, State
from pypimirror.system.clock import DAY

#: Most files of the backlog that are counted.
MOST = 1_000_000


def take(connection: Connection, now: float) -> Statistics:
    """Count everything."""
    began = time.monotonic()
    rows = prepared.rows(connection, _by_state(), {f"d{days}": now - days * DAY for days in AGES})
    held = [row for row in rows if row[0] in PROVEN]
    found = {row[0]: row[1] for row in rows}
    proofs = [row[2] for row in held if row[2] is not None]
    return Statistics(
        at=now,
        files={state.label: found.get(state, 0) for state in State},
        oldest_proof=min(proofs, default=None),
        proven_within={
            days: sum(int(row[3 + number] or 0) for row in held) for number, days in enumerate(AGES)
        },
        took=time.monotonic() - began,
    )


@statement
def _by_state() -> sql.Select[Any]:
    c, count = tables.files.c, sql.func.count
    recent = [count().filter(c.proven_at >= sql.bindparam(f"d{days}")) for days in AGES]
    query = sql.select(c.state, count(), sql.func.min(c.proven_at), *recent)
    return query.group_by(c.state)


def keep(connection: Connection, figures: Statistics) -> None:
    """Store statistics until the next are counted."""
    marks.write(connection, STATISTICS, figures)


def last(connection: Connection) -> Statistics | None:
    """Return the stored statistics."""
    return marks.read(connection, STATISTICS)


def backlog(connection: Connection, most: int = MOST) -> dict[str, int]:
    """Return the number of files with work to do, by the word for their state; at most `most`."""
    found = dict.fromkeys((*(state.label for state in sorted(OPEN)), DENIED), 0)
    if not backlog_projects(connection):  # at the end of most runs
        return found
    for state, denied, number in prepared.rows(connection, _backlog(), {"most": most}):
        found[DENIED if denied else State(state).label] = number
    return found


@statement
def _backlog() -> sql.Select[Any]:
    has_work = tables.projects.c.has_work.is_(True)
    columns = (tables.files.c.state, tables.IS_DENIED.label("denied"))
    found = _first(sql.select(*columns).where(has_work))
    by = found.c.state, found.c.denied
    return sql.select(*by, sql.func.count()).group_by(*by)


def _first(query: sql.Select[Any]) -> sql.Subquery:
    """Return the first `most` files among those of a query that have work to do."""
    files = tables.files
    query = query.join_from(files, tables.projects)
    is_open = (is_in(OPEN), files.c.removal_cause.is_(None))
    return query.where(*is_open).limit(sql.bindparam("most", type_=sql.Integer())).subquery()


def waiting(connection: Connection, most: int = MOST) -> int:
    """Return the number of files that wait for another try and are in no backlog; at most `most`.

    Files that a policy of the upstream keeps back do not count.
    """
    return prepared.value(connection, _waiting(), {"most": most}) or 0


@statement
def _waiting() -> sql.Select[Any]:
    files = tables.files
    is_idle = tables.projects.c.has_work.is_not(True)
    waits = (files.c.next_try.is_not(None), tables.IS_DENIED == 0, is_idle)
    return sql.select(sql.func.count()).select_from(_first(sql.select(files.c.id).where(*waits)))


def backlog_projects(connection: Connection) -> int:
    """Return the number of projects with work to do."""
    return prepared.value(connection, _backlog_projects(), {}) or 0


@statement
def _backlog_projects() -> sql.Select[Any]:
    has_work = tables.projects.c.has_work.is_(True)
    return sql.select(sql.func.count()).select_from(tables.projects).where(has_work)


def last_complete_sync(connection: Connection) -> RunRecord | None:
    """Return the newest sync of the whole selection that completed."""
    return mapper.read_first(connection, _last_complete_sync(), RunRecord, {})


@statement
def _last_complete_sync() -> sql.Select[Any]:
    c = tables.runs.c
    is_whole = (c.arguments == "[]", c.retry_of.is_(None))
    return runs.newest(c.command == "sync", c.state == COMPLETED, *is_whole)


def last_ended(connection: Connection, command: str) -> RunRecord | None:
    """Return the newest run of a command that has ended."""
    return mapper.read_first(connection, _last_ended(), RunRecord, {"command": command})


@statement
def _last_ended() -> sql.Select[Any]:
    c = tables.runs.c
    return runs.newest(c.command == sql.bindparam("command"), c.state != RUNNING)


def running(connection: Connection) -> int:
    """Return how many runs have not ended, as far as is known."""
    return prepared.value(connection, _running(), {}) or 0


@statement
def _running() -> sql.Select[Any]:
    runs = tables.runs
    return sql.select(sql.func.count()).select_from(runs).where(runs.c.state == RUNNING)


def serials(connection: Connection) -> dict[str, int]:
    """Return the last known serial of each upstream's list, if it has one."""
    return {row[0]: row[1] for row in prepared.rows(connection, _serials(), {})}


@statement
def _serials() -> sql.Select[Any]:
    c = tables.lists.c
    return sql.select(c.upstream, c.serial).where(c.serial.is_not(None))
