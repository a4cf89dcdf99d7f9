"""Times in the catalog that are in the future, or too early: they were noted by a wrong clock.

`pypimirror.system.clock` has the rule. Each run corrects these times at its beginning, so that no
query has to check them. Every run notes times in the history, which is short; so the history shows
cheaply whether there is anything to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pypimirror.catalog.mapping import prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.prepared import statement
from pypimirror.catalog.marks import AHEAD
from pypimirror.catalog.queries import marks
from pypimirror.system.clock import FIRST, SLACK

#: The value for an unknown time: long ago.
_LONG_AGO = 0.0


def disbelieve(connection: Connection, now: float) -> bool:
    """Correct times in the future. Return whether there were any.

    Withdrawal times that are impossibly early are corrected as well, because the bytes of these
    files would be removed too soon.
    """
    prepared.execute(connection, _raise_early(), {"first": min(FIRST, now), "now": now})
    ahead = now + SLACK
    latest = _latest(connection, ahead)
    if latest is None:
        _begin_grace_anew(connection, now)
        return False
    known = marks.read(connection, AHEAD) or latest
    marks.write(connection, AHEAD, min(latest, known))
    _lower(connection, ahead, now)
    return True


@statement
def _raise_early() -> sql.Update:
    withdrawn_at = tables.files.c.withdrawn_at
    early = sql.update(tables.files).where(withdrawn_at < sql.bindparam("first"))
    return early.values(withdrawn_at=sql.bindparam("now"))


def _lower(connection: Connection, ahead: float, now: float) -> None:
    """Replace all times after `ahead`. Their real times are unknown, but they were before now."""
    runs, stages, workers = tables.runs, tables.stages, tables.workers
    projects, files, asked = tables.projects, tables.files, tables.asked
    _put(connection, runs, ahead, {runs.c.started_at: now, runs.c.ended_at: now})
    _put(connection, stages, ahead, {stages.c.started_at: now, stages.c.ended_at: now})
    _put(connection, workers, ahead, {workers.c.started_at: now, workers.c.ended_at: now})
    _put(connection, tables.lists, ahead, {tables.lists.c.read_at: None})
    _put(
        connection,
        projects,
        ahead,
        {projects.c.checked_at: _LONG_AGO, projects.c.read_at: None},
        # The selection was decided for a time in the future.
        needs_fetch=True,
        has_work=True,
        etag=None,
        last_modified=None,
        page_digest=None,
        choice_until=None,
    )
    _put(connection, files, ahead, {files.c.proven_at: _LONG_AGO})
    _put(connection, files, ahead, {files.c.withdrawn_at: now})
    _put(connection, files, ahead, {files.c.kept: now})
    _put(connection, projects, ahead, {projects.c.kept: now})
    _put(connection, asked, ahead, {asked.c.asked_at: now, asked.c.used_at: now})


def _latest(connection: Connection, ahead: float) -> float | None:
    """Return the latest time in the future that was noted; None if there is none."""
    (found,) = prepared.rows(connection, _latest_of_each(), {"ahead": ahead})
    return max((float(time) for time in found if time is not None), default=None)


@statement
def _latest_of_each() -> sql.Select[Any]:
    started_at, ended_at = tables.runs.c.started_at, tables.runs.c.ended_at
    withdrawn_at, read_at = tables.files.c.withdrawn_at, tables.lists.c.read_at
    ahead, max_of = sql.bindparam("ahead", type_=sql.Float()), sql.func.max
    queries = (
        sql.select(max_of(started_at)).where(started_at > ahead),
        sql.select(max_of(ended_at)).where(ended_at > ahead),
        # The index has this condition.
        sql.select(max_of(withdrawn_at)).where(withdrawn_at.is_not(None), withdrawn_at > ahead),
        sql.select(max_of(read_at)).where(read_at > ahead),
    )
    return sql.select(*(query.scalar_subquery() for query in queries))


def _begin_grace_anew(connection: Connection, now: float) -> None:
    """Restart every grace period if a time that once was in the future has passed.

    Then the other clock was behind, and noted times that are too early. If that guess is wrong,
    files only stay on disk a little longer.
    """
    known = marks.read(connection, AHEAD)
    if known is None or known > now + SLACK:
        return
    marks.clear(connection, AHEAD)
    prepared.execute(connection, _begin_grace(), {"now": now})


@statement
def _begin_grace() -> sql.Update:
    withdrawn = sql.update(tables.files).where(tables.files.c.withdrawn_at.is_not(None))
    return withdrawn.values(withdrawn_at=sql.bindparam("now"))


def _put(
    connection: Connection,
    table: sql.Table,
    ahead: float,
    columns: Mapping[sql.Column[float], float | None],
    **more: object,
) -> None:
    """Replace times in the future by other values, and set the columns `more` in those rows."""
    for column, value in columns.items():
        connection.execute(sql.update(table).where(column > ahead).values({column: value, **more}))
