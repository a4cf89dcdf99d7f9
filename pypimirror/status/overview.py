"""The mirror as a whole, as `/status.json` and the status page show it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pypimirror.catalog.database import Connection
from pypimirror.catalog.queries import days, runs, statistics, totals
from pypimirror.domain.documents import iso
from pypimirror.status import failures, freshness, history, trends
from pypimirror.status.documents import Backlog, MirrorStatus, Proofs
from pypimirror.system import space
from pypimirror.system.clock import DAY

if TYPE_CHECKING:
    from pypimirror.catalog.figures.statistics import Statistics
    from pypimirror.config.settings import Config

#: Most files of the backlog that are counted: more would take too long.
_MOST = 20_000


def read(
    connection: Connection, config: Config, now: float, *, details: bool = False
) -> MirrorStatus:
    """Return the state of the mirror at the time `now`, in seconds since the epoch.

    With `details`, it may contain paths and names of machines.
    """
    telling = runs.telling(connection)
    failing, kept_back = failures.of(connection, telling, details=details)
    rows = days.last(connection, days.KEPT, now)
    recent = [row for row in rows if row.day > now // DAY - trends.SHOWN]
    held = totals.held(connection)
    return {
        "at": now,
        "at_iso": iso(now),
        "freshness": freshness.of(
            statistics.last_complete_sync(connection), now, config.schedule.sync
        ),
        "held": {
            "projects": held.projects,
            "files": held.files,
            "bytes": held.size,
            "linked": held.linked,
        },
        "backlog": _backlog(connection),
        "proofs": _proofs(statistics.last(connection)),
        "space": trends.space(recent, _free(config), int(config.mirror.reserve), now),
        "failures_of": telling[0].name if telling else None,
        "failures": failing,
        "kept_back": kept_back,
        "days": [trends.document(row) for row in recent],
        "months": trends.months(rows),
        "runs": history.lines(connection, details=details),
    }


def _backlog(connection: Connection) -> Backlog:
    found, waiting = statistics.backlog(connection, _MOST), statistics.waiting(connection, _MOST)
    is_more = max(sum(found.values()), waiting) >= _MOST
    return {"files": found, "waiting": waiting, "is_more": is_more}


def _free(config: Config) -> int | None:
    """Return the free bytes of the mirror root's file system. A bucket has no such limit."""
    if config.bucket is None:
        with suppress(OSError):
            return space.free(config.directory)
    return None


def _proofs(counted: Statistics | None) -> Proofs | None:
    if counted is None:
        return None
    return {
        "counted_at": counted.at,
        "counted_at_iso": iso(counted.at),
        "files": counted.proven,
        "within": [
            {"days": age, "files": number, "share": round(number / (counted.proven or 1), 4)}
            for age, number in sorted(counted.proven_within.items())
        ],
        "oldest": counted.oldest_proof,
        "oldest_iso": iso(counted.oldest_proof),
    }
