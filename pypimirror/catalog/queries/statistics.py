"""Figures on the mirror as a whole, for metrics.

How long ago files were proven can only be told by reading all of their rows: that is done at the
end of a run that changed some, and kept in a mark; where it takes long, once a day and after each
verification. What is asked for anew each time is bounded, or has an index; see also `totals`.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, func, select

from pypimirror.catalog.queries import marks
from pypimirror.catalog.queries import projects as project_queries
from pypimirror.catalog.schema import IS_DENIED, failures, files, lists, projects, runs
from pypimirror.catalog.states import COMPLETED, DENIED, OPEN, PROVEN, RUNNING, State

MARK = "statistics"

#: Files of a backlog that are counted at most.
MOST = 1_000_000

DAY = 86400.0
#: Where counting took longer than this, in seconds, a sync does it again only after a day.
_QUICK = 0.2
#: Ages of proofs that are told apart, in days.
AGES = (1, 7, 30)


class Statistics(msgspec.Struct, frozen=True):
    """What a mirror held at a moment."""

    at: float  #: seconds since the epoch
    files: dict[str, int]  #: how many, by the word for their state
    oldest_proof: float | None  #: when the file that was looked at longest ago was seen to be right
    proven_within: dict[int, int]  #: files that were seen to be right in the last so many days
    took: float = 0.0  #: seconds that counting took

    def is_old(self, now: float) -> bool:
        """Whether it is time to count again; also where the clock was set back."""
        return self.took < _QUICK or not 0 <= now - self.at < DAY

    @property
    def proven(self) -> int:
        """How many files are proven."""
        return sum(self.files[state.label] for state in PROVEN)


#: Reads what `keep` has written; raises `ValueError`.
parse = msgspec.json.Decoder(Statistics, strict=False).decode


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
    """Keep figures until the next."""
    project_queries.set_mark(connection, MARK, msgspec.json.encode(figures).decode())


def last(connection: Connection) -> Statistics | None:
    """Return the figures that were kept last."""
    return marks.read(connection, MARK, parse)


def backlog(connection: Connection) -> dict[str, int]:
    """Return how many files wait for something, by the word for their state; at most `MOST`."""
    waiting = (
        select(files.c.state, IS_DENIED.label("denied"))
        .join(projects)
        .where(
            projects.c.has_work.is_(True),
            files.c.state.in_(list(OPEN)),
            files.c.removal_cause.is_(None),
        )
        .limit(MOST)
        .subquery()
    )
    by = waiting.c.state, waiting.c.denied
    found = dict.fromkeys((*(state.label for state in sorted(OPEN)), DENIED), 0)
    for state, denied, number in connection.execute(select(*by, func.count()).group_by(*by)):
        found[DENIED if denied else State(state).label] = number
    return found


def backlog_projects(connection: Connection) -> int:
    """Return for how many projects something is left to do."""
    query = select(func.count()).select_from(projects).where(projects.c.has_work.is_(True))
    return connection.scalar(query) or 0


def last_complete_sync(connection: Connection) -> Row[Any] | None:
    """Return the newest sync of everything that is selected in which nothing failed."""
    query = select(runs).where(
        runs.c.command == "sync",
        runs.c.state == COMPLETED,
        runs.c.arguments == "[]",
        runs.c.retry_of.is_(None),
    )
    return connection.execute(query.order_by(runs.c.id.desc()).limit(1)).first()


def last_ended(connection: Connection, command: str) -> Row[Any] | None:
    """Return the newest run of a command that has ended."""
    query = select(runs).where(runs.c.command == command, runs.c.state != RUNNING)
    return connection.execute(query.order_by(runs.c.id.desc()).limit(1)).first()


def running(connection: Connection) -> int:
    """Return how many runs have not ended, so far as is known."""
    query = select(func.count()).select_from(runs).where(runs.c.state == RUNNING)
    return connection.scalar(query) or 0


def failures_by_reason(connection: Connection, run_id: int) -> dict[str, int]:
    """Return how many failures a run had, by reason."""
    query = select(failures.c.reason, func.count()).where(failures.c.run_id == run_id)
    return {row[0]: row[1] for row in connection.execute(query.group_by(failures.c.reason))}


def serials(connection: Connection) -> dict[str, int]:
    """Return the serial of each upstream's list as it was read last, where it has one."""
    query = select(lists.c.upstream, lists.c.serial).where(lists.c.serial.is_not(None))
    return {row[0]: row[1] for row in connection.execute(query)}
