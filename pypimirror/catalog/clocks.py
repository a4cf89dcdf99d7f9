"""Times in the catalog that are ahead of now, or too early: noted while a clock was wrong.

`pypimirror.system.clock` has the rule. A run begins with this, so that no query need ask. Each run
notes times of its own, so the history, which is short, tells whether there is anything to do.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Column, Connection, Table, func, select, update

from pypimirror.catalog.marks import AHEAD
from pypimirror.catalog.queries import marks
from pypimirror.catalog.schema import files, lists, projects, runs, stages
from pypimirror.system.clock import FIRST, SLACK

#: Of whom nobody knows when it was: long ago.
_LONG_AGO = 0.0


def disbelieve(connection: Connection, now: float) -> bool:
    """Forget the times that are ahead of now; return whether there were any.

    And those so early that bytes would go which have their grace yet.
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
    # Who says what happened then: at what time is not known, but that it was before now is.
    _put(connection, runs, ahead, {runs.c.started_at: now, runs.c.ended_at: now})
    _put(connection, stages, ahead, {stages.c.started_at: now, stages.c.ended_at: now})
    _put(connection, lists, ahead, {lists.c.read_at: None})
    _put(
        connection,
        projects,
        ahead,
        {projects.c.checked_at: _LONG_AGO, projects.c.read_at: None},
        # The selection was made by a time that is still to come.
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
    return True


def _latest(connection: Connection, ahead: float) -> float | None:
    """Return the latest time that was noted ahead of now; None where there is none."""
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
    """Have every grace begin now where a time has come that was ahead once.

    Then it was that run's clock which was wrong: it was behind, and so is what it noted. Else no
    more is lost than a while on disk.
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
    """Put something in the place of times that are ahead, and `more` into those rows."""
    for column, value in columns.items():
        connection.execute(update(table).where(column > ahead).values({column: value, **more}))
