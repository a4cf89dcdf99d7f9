"""Times in the catalog that are in the future, or too early: they were noted by a wrong clock.

`pypimirror.system.clock` has the rule. Each run corrects these times at its beginning, so that no
query has to check them. Every run notes times in the history, which is short; so the history shows
cheaply whether there is anything to do.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Column, Connection, Table, func, select, update

from pypimirror.catalog.marks import AHEAD
from pypimirror.catalog.queries import marks
from pypimirror.catalog.schema import asked, files, lists, projects, runs, stages, workers
from pypimirror.system.clock import FIRST, SLACK

#: The value for an unknown time: long ago.
_LONG_AGO = 0.0


def disbelieve(connection: Connection, now: float) -> bool:
    """Correct times in the future. Return whether there were any.

    Withdrawal times that are impossibly early are corrected as well, because the bytes of these
    files would be removed too soon.
    """
    early = update(files).where(files.c.withdrawn_at < min(FIRST, now))
    connection.execute(early.values(withdrawn_at=now))
    ahead = now + SLACK
    latest = _latest(connection, ahead)
    if latest is None:
        _begin_grace_anew(connection, now)
        return False
    known = marks.read(connection, AHEAD) or latest
    marks.write(connection, AHEAD, min(latest, known))
    # Their real times are unknown, but they were before now.
    _put(connection, runs, ahead, {runs.c.started_at: now, runs.c.ended_at: now})
    _put(connection, stages, ahead, {stages.c.started_at: now, stages.c.ended_at: now})
    _put(connection, workers, ahead, {workers.c.started_at: now, workers.c.ended_at: now})
    _put(connection, lists, ahead, {lists.c.read_at: None})
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
    return True


def _latest(connection: Connection, ahead: float) -> float | None:
    """Return the latest time in the future that was noted; None if there is none."""
    queries = (
        select(func.max(runs.c.started_at)).where(runs.c.started_at > ahead),
        select(func.max(runs.c.ended_at)).where(runs.c.ended_at > ahead),
        select(func.max(files.c.withdrawn_at)).where(
            files.c.withdrawn_at.is_not(None), files.c.withdrawn_at > ahead
        ),
        select(func.max(lists.c.read_at)).where(lists.c.read_at > ahead),
    )
    found = [connection.scalar(query) for query in queries]
    return max((float(time) for time in found if time is not None), default=None)


def _begin_grace_anew(connection: Connection, now: float) -> None:
    """Restart every grace period if a time that once was in the future has passed.

    Then the other clock was behind, and noted times that are too early. If that guess is wrong,
    files only stay on disk a little longer.
    """
    known = marks.read(connection, AHEAD)
    if known is None or known > now + SLACK:
        return
    marks.clear(connection, AHEAD)
    withdrawn = update(files).where(files.c.withdrawn_at.is_not(None))
    connection.execute(withdrawn.values(withdrawn_at=now))


def _put(
    connection: Connection,
    table: Table,
    ahead: float,
    columns: Mapping[Column[float], float | None],
    **more: object,
) -> None:
    """Replace times in the future by other values, and set the columns `more` in those rows."""
    for column, value in columns.items():
        connection.execute(update(table).where(column > ahead).values({column: value, **more}))
