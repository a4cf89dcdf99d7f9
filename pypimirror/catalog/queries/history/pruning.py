"""Which runs leave the history, and their deletion."""

from __future__ import annotations

from enum import Enum
from typing import Any

from pypimirror.catalog.mapping import prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.prepared import statement
from pypimirror.catalog.states import COMPLETED, WORKING


def outlived(connection: Connection, keep: int, before: float, limit: int) -> list[int]:
    """Return ids of the oldest runs beyond the newest `keep`, or that began before a time.

    The last run is never among them. For each command, neither is the last completed run, nor the
    last one that completed without arguments. Nor is a run of a worker that works now.
    """
    values = {"keep": keep, "before": before, "limit": limit}
    return [row[0] for row in prepared.rows(connection, _outlived(), values)]


@statement
def _outlived() -> sql.Select[Any]:
    c = tables.runs.c
    keep, limit = (sql.bindparam(name, type_=sql.Integer()) for name in ("keep", "limit"))
    beyond = sql.select(c.id).order_by(c.id.desc()).offset(keep).limit(1).scalar_subquery()
    is_old = sql.or_(c.started_at < sql.bindparam("before"), c.id <= beyond)
    return sql.select(c.id).where(is_old, c.id.not_in(_kept())).order_by(c.id).limit(limit)


def _kept() -> Any:
    runs, workers = tables.runs, tables.workers
    last = sql.select(sql.func.max(runs.c.id))
    complete = last.where(runs.c.state == COMPLETED).group_by(runs.c.command)
    of_workers = sql.select(workers.c.run_id).where(workers.c.state == WORKING)
    return sql.union(last, complete, complete.where(runs.c.arguments == "[]"), of_workers)


class _Part(Enum):
    """A table with rows of runs."""

    FAILURES = "failures"
    STAGES = "stages"
    WORKERS = "workers"


def forget_some(connection: Connection, run_id: int, limit: int) -> int:
    """Delete at most `limit` rows of a run, the run itself last. Return how many were deleted."""
    deleted = 0
    for part in _Part:
        values = {"run": run_id, "limit": limit - deleted}
        deleted += prepared.execute(connection, _forget_some(part), values)
        if deleted == limit:
            return deleted
    return deleted + prepared.execute(connection, _forget(), {"run": run_id})


@statement
def _forget_some(part: _Part) -> sql.Delete:
    table = getattr(tables, part.value)
    some = sql.select(table.c.id).where(table.c.run_id == sql.bindparam("run"))
    some = some.limit(sql.bindparam("limit", type_=sql.Integer()))
    return sql.delete(table).where(table.c.id.in_(some))


@statement
def _forget() -> sql.Delete:
    return sql.delete(tables.runs).where(tables.runs.c.id == sql.bindparam("run"))
