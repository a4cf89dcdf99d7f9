"""Times in the catalog that are ahead of now, or too early: noted while a clock was wrong.

`pypimirror.clock` has the rule. A run begins with this, so that no query need ask. Each run notes
times of its own, so the history, which is short, tells whether there is anything to do.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Column, Connection, Table, or_, select, update

from pypimirror.catalog.schema import files, lists, projects, runs, stages
from pypimirror.clock import FIRST, SLACK

#: Of whom nobody knows when it was: long ago.
_LONG_AGO = 0.0


def disbelieve(connection: Connection, now: float) -> bool:
    """Forget the times that are ahead of now; return whether there were any.

    And those so early that bytes would go which have their grace yet.
    """
    early = update(files).where(files.c.withdrawn_at < min(FIRST, now))
    connection.execute(early.values(withdrawn_at=now))
    ahead = now + SLACK
    if not _is_any(connection, ahead):
        return False
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
        look=True,
        todo=True,
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


def _is_any(connection: Connection, ahead: float) -> bool:
    queries = (
        select(runs.c.id).where(or_(runs.c.started_at > ahead, runs.c.ended_at > ahead)),
        select(files.c.id).where(files.c.withdrawn_at.is_not(None), files.c.withdrawn_at > ahead),
        select(lists.c.read_at).where(lists.c.read_at > ahead),
    )
    return any(connection.execute(query.limit(1)).first() is not None for query in queries)


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
