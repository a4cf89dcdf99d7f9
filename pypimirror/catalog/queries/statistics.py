"""Statistics on the mirror as a whole, for metrics.

The ages of proofs can only be found by reading all rows of files. If a run has changed proofs, it
does this at its end and stores the result in a mark. If that takes long, it is done once a day and
after each verification. All other queries are bounded or use an index; see also `totals`.
"""

from __future__ import annotations

import time

from sqlalchemy import Connection, func, select

from pypimirror.catalog.figures.statistics import AGES, Statistics
from pypimirror.catalog.mapping import mapper
from pypimirror.catalog.marks import STATISTICS
from pypimirror.catalog.queries import marks
from pypimirror.catalog.records import RunRecord
from pypimirror.catalog.schema import IS_DENIED, failures, files, lists, projects, runs
from pypimirror.catalog.states import COMPLETED, DENIED, OPEN, PROVEN, RUNNING, State
from pypimirror.system.clock import DAY

#: Most files of the backlog that are counted.
MOST = 1_000_000


def take(connection: Connection, now: float) -> Statistics:
    """Count everything."""
    began = time.monotonic()
    c = files.c
    columns = [func.count().filter(c.proven_at >= now - days * DAY) for days in AGES]
    query = select(c.state, func.count(), func.min(c.proven_at), *columns)
    rows = list(connection.execute(query.group_by(c.state)))
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
    waiting = (
        select(files.c.state, IS_DENIED.label("denied"))
        .join(projects)
        .where(
            projects.c.has_work.is_(True),
            files.c.state.in_(list(OPEN)),
            files.c.removal_cause.is_(None),
        )
        .limit(most)
        .subquery()
    )
    by = waiting.c.state, waiting.c.denied
    for state, denied, number in connection.execute(select(*by, func.count()).group_by(*by)):
        found[DENIED if denied else State(state).label] = number
    return found


def waiting(connection: Connection, most: int = MOST) -> int:
    """Return the number of files that wait for another try and are in no backlog; at most `most`.

    Files that a policy of the upstream keeps back do not count.
    """
    those = (
        select(files.c.id)
        .join(projects)
        .where(
            files.c.next_try.is_not(None),
            files.c.state.in_(list(OPEN)),
            files.c.removal_cause.is_(None),
            IS_DENIED == 0,
            projects.c.has_work.is_not(True),
        )
        .limit(most)
        .subquery()
    )
    return connection.scalar(select(func.count()).select_from(those)) or 0


def backlog_projects(connection: Connection) -> int:
    """Return the number of projects with work to do."""
    query = select(func.count()).select_from(projects).where(projects.c.has_work.is_(True))
    return connection.scalar(query) or 0


def last_complete_sync(connection: Connection) -> RunRecord | None:
    """Return the newest sync of the whole selection that completed."""
    query = select(runs).where(
        runs.c.command == "sync",
        runs.c.state == COMPLETED,
        runs.c.arguments == "[]",
        runs.c.retry_of.is_(None),
    )
    return mapper.first(connection, query.order_by(runs.c.id.desc()), RunRecord)


def last_ended(connection: Connection, command: str) -> RunRecord | None:
    """Return the newest run of a command that has ended."""
    query = select(runs).where(runs.c.command == command, runs.c.state != RUNNING)
    return mapper.first(connection, query.order_by(runs.c.id.desc()), RunRecord)


def running(connection: Connection) -> int:
    """Return how many runs have not ended, as far as is known."""
    query = select(func.count()).select_from(runs).where(runs.c.state == RUNNING)
    return connection.scalar(query) or 0


def failures_by_reason(connection: Connection, run_id: int) -> dict[str, int]:
    """Return the number of failures of a run, by reason."""
    query = select(failures.c.reason, func.count()).where(failures.c.run_id == run_id)
    return {row[0]: row[1] for row in connection.execute(query.group_by(failures.c.reason))}


def serials(connection: Connection) -> dict[str, int]:
    """Return the last known serial of each upstream's list, if it has one."""
    query = select(lists.c.upstream, lists.c.serial).where(lists.c.serial.is_not(None))
    return {row[0]: row[1] for row in connection.execute(query)}
