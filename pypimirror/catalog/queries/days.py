"""The days: figures on the mirror and on its runs, for charts over months.

The end of each run writes the row of the present day again, from the runs that ended on that day.
The row stays when these runs leave the history. Charts read this table, so they count no files.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from pypimirror.catalog.mapping import mapper, prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.prepared import statement
from pypimirror.catalog.queries import statistics, totals
from pypimirror.catalog.records import DayRecord, RunRecord
from pypimirror.catalog.states import COMPLETED
from pypimirror.system.clock import DAY

#: Number of days that are kept: two years.
KEPT = 731


class Ending(NamedTuple):
    """Facts that only the run that ends now knows."""

    free: int | None  #: free bytes of the mirror root's file system; None: unknown
    age: float | None  #: seconds since the last complete sync before this run; None: there is none
    failures: Mapping[str, int]  #: number of failures of this run, by reason


def note(connection: Connection, ending: Ending) -> None:
    """Write the row of the present day. Call it after the record of the run was closed."""
    today = int(time.time() // DAY)
    row = _today(connection, today, ending)
    before = mapper.read_first(connection, _from_day_to_day(), DayRecord, _until(today, 1))
    if before is not None:
        row = _highest(before, row)
        prepared.execute(connection, _delete(), {"today": today})
    prepared.execute(connection, _insert(), msgspec.structs.asdict(row))
    prepared.execute(connection, _delete_old(), {})


@statement
def _delete() -> sql.Delete:
    return sql.delete(tables.days).where(tables.days.c.day == sql.bindparam("today"))


@statement
def _insert() -> sql.Insert:
    return sql.insert(tables.days)


@statement
def _delete_old() -> sql.Delete:
    # Count rows and compare no times: a clock that was ahead once must not delete all others.
    day = tables.days.c.day
    beyond = sql.select(day).order_by(day.desc()).offset(KEPT).limit(1)
    return sql.delete(tables.days).where(day <= beyond.scalar_subquery())


def last(connection: Connection, number: int, now: float) -> list[DayRecord]:
    """Return the rows of the last `number` days up to the time `now`, the oldest first."""
    values = _until(int(now // DAY), number)
    return mapper.read_all(connection, _from_day_to_day(), DayRecord, values)


@statement
def _from_day_to_day() -> sql.Select[Any]:
    day = tables.days.c.day
    is_meant = (day > sql.bindparam("after"), day <= sql.bindparam("today"))
    return sql.select(tables.days).where(*is_meant).order_by(day)


def _until(today: int, number: int) -> dict[str, int]:
    """Return the parameters for the last `number` days."""
    return {"after": today - number, "today": today}


def _today(connection: Connection, today: int, ending: Ending) -> DayRecord:
    values = {"begin": today * DAY, "end": (today + 1) * DAY}
    found = mapper.read_all(connection, _ended(), RunRecord, values)
    held = totals.held(connection)
    return DayRecord(
        day=today,
        projects=held.projects,
        files=held.files,
        bytes=held.size,
        free=ending.free,
        backlog=sum(statistics.backlog(connection).values()) + statistics.waiting(connection),
        oldest=ending.age,
        runs=len(found),
        undone=sum(run.state != COMPLETED for run in found),
        seconds=max((_seconds(run) for run in found if run.command == "sync"), default=0.0),
        downloaded=sum(_downloaded(run) for run in found),
        failures=json.dumps(ending.failures),
    )


@statement
def _ended() -> sql.Select[Any]:
    ended_at = tables.runs.c.ended_at
    is_meant = (ended_at >= sql.bindparam("begin"), ended_at < sql.bindparam("end"))
    return sql.select(tables.runs).where(*is_meant)


def _highest(before: DayRecord, row: DayRecord) -> DayRecord:
    """Return the new row of a day. Highest values are kept from the old row if they are higher."""
    failures: dict[str, int] = json.loads(row.failures)
    for reason, number in json.loads(before.failures).items():
        failures[reason] = max(number, failures.get(reason, 0))
    ages = [age for age in (before.oldest, row.oldest) if age is not None]
    return msgspec.structs.replace(
        row,
        oldest=max(ages, default=None),
        runs=max(before.runs, row.runs),
        undone=max(before.undone, row.undone),
        seconds=max(before.seconds, row.seconds),
        downloaded=max(before.downloaded, row.downloaded),
        failures=json.dumps(failures),
    )


def _seconds(run: RunRecord) -> float:
    return max(0.0, (run.ended_at or run.started_at) - run.started_at)


def _downloaded(run: RunRecord) -> int:
    return int(json.loads(run.counts or "{}").get("bytes_downloaded", 0))
