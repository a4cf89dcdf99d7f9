"""The history: runs and their failures."""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pypimirror import __version__
from pypimirror.catalog import holder
from pypimirror.catalog.mapping import mapper, prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.inserts import insert_for, parameters
from pypimirror.catalog.mapping.prepared import among, statement
from pypimirror.catalog.queries.history import batches
from pypimirror.catalog.queries.work import claims
from pypimirror.catalog.records import FailureRecord, RunRecord
from pypimirror.catalog.states import CANCELLED as CANCELLED
from pypimirror.catalog.states import COMPLETED as COMPLETED
from pypimirror.catalog.states import CRASHED as CRASHED
from pypimirror.catalog.states import FAILED as FAILED
from pypimirror.catalog.states import INCOMPLETE as INCOMPLETE
from pypimirror.catalog.states import REQUEST
from pypimirror.catalog.states import RUNNING as RUNNING
from pypimirror.domain.model import Problem, Stage


def start(
    connection: Connection,
    *,
    command: str,
    trigger: str,
    config: str,
    arguments: Sequence[str],
    now: float,
    retry_of: str | None = None,
) -> tuple[int, str]:
    """Record a run that began at `now`. Return its id and its name. Names sort by time."""
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{os.urandom(3).hex()}"
    here = holder.this_machine()
    values = {
        "name": name,
        "command": command,
        "trigger": trigger,
        "version": __version__,
        "config": config,
        "arguments": json.dumps(list(arguments)),
        "retry_of": retry_of,
        "host": here.host,
        "boot": here.boot or None,
        "pid": os.getpid(),
        "started_at": now,
    }
    return int(prepared.value(connection, _start(), values)), name


@statement
def _start() -> Any:
    given = ("name", "command", "trigger", "version", "config", "arguments", "retry_of", "host")
    values = parameters(*given, "boot", "pid", "started_at") | {"state": RUNNING}
    return sql.insert(tables.runs).values(values).returning(tables.runs.c.id)


def end(
    connection: Connection,
    run_id: int,
    state: str,
    message: str,
    counts: Mapping[str, int],
    *,
    had_work: bool = True,
) -> None:
    """Close a run, unless a process that took the mirror over has closed it.

    If it `had_work`, it may have had workers, which end with it. Open stages belong to workers that
    died.
    """
    now = time.time()
    values = {"run": run_id, "now": now, "outcome": state, "told": message}
    counted = json.dumps(dict(counts))
    closed = prepared.execute(connection, _end(), {**values, "counted": counted})
    if had_work and closed:
        claims.end_run(connection, run_id, "its run has ended")
        batches.end_open(connection, run_id, now)


@statement
def _end() -> sql.Update:
    runs = tables.runs
    values = {
        "state": sql.bindparam("outcome"),
        "ended_at": batches.end_of(runs),
        "message": sql.bindparam("told"),
        "counts": sql.bindparam("counted"),
    }
    is_meant = (runs.c.id == sql.bindparam("run"), runs.c.state == RUNNING)
    return sql.update(runs).where(*is_meant).values(values)


def under_way(connection: Connection, pid: int, host: str) -> str:
    """Return the name of the running run of a process; "" if there is none."""
    return prepared.value(connection, _under_way(), {"process": pid, "machine": host}) or ""


@statement
def _under_way() -> sql.Select[Any]:
    runs = tables.runs
    of_process = (runs.c.pid == sql.bindparam("process"), runs.c.host == sql.bindparam("machine"))
    return sql.select(runs.c.name).where(runs.c.state == RUNNING, *of_process)


def close_crashed(connection: Connection) -> int:
    """Close the runs that died, with the counts that their stages recorded. Return their number.

    Call it with the lease held and before a run is started: then every running run is dead.
    """
    dead = running(connection)
    for run in dead:
        counts: Counter[str] = Counter()
        last = run.started_at
        for row in batches.of_run(connection, run.id):
            counts.update(json.loads(row.counts or "{}"))
            last = max(last, row.started_at, row.ended_at or 0)
        message = f"process {run.pid} on {run.host} died without closing its run"
        batches.end_open(connection, run.id, last)
        claims.end_run(connection, run.id, message)
        values = {"run": run.id, "now": last, "outcome": CRASHED, "told": message}
        prepared.execute(connection, _end(), {**values, "counted": json.dumps(counts)})
    batches.end_lost(connection)
    return len(dead)


def call_cancelled(connection: Connection, name: str, message: str) -> None:
    """Change a run that was closed as crashed to cancelled, because somebody ended it on
    purpose.
    """
    run_id = prepared.value(connection, _crashed(), {"called": name})
    if run_id is not None:
        batches.cancel_crashed(connection, run_id)
        prepared.execute(connection, _cancel(), {"run": run_id, "told": message})


@statement
def _crashed() -> sql.Select[Any]:
    runs = tables.runs
    is_meant = (runs.c.name == sql.bindparam("called"), runs.c.state == CRASHED)
    return sql.select(runs.c.id).where(*is_meant)


@statement
def _cancel() -> sql.Update:
    values = {"state": CANCELLED, "message": sql.bindparam("told")}
    return sql.update(tables.runs).where(tables.runs.c.id == sql.bindparam("run")).values(values)


def add_failures(
    connection: Connection, run_id: int, stage: Stage, problems: Iterable[Problem]
) -> None:
    """Record failures. For each file or project in a stage of a run, the last one counts."""
    rows = {
        (problem.project, problem.file): {
            "run_id": run_id,
            "stage": stage.value,
            "project": problem.project,
            "file": problem.file,
            "reason": problem.reason.value,
            "message": problem.message,
            "url": problem.url,
            "attempts": problem.attempts,
        }
        for problem in problems
    }
    prepared.execute_many(connection, _add_failures(connection.dialect.name), list(rows.values()))


@statement
def _add_failures(dialect: str) -> Any:
    said, key = ("reason", "message", "url", "attempts"), ("run_id", "stage", "project", "file")
    insert = insert_for(dialect, tables.failures).values(parameters(*key, *said))
    again = {name: insert.excluded[name] for name in said}
    return insert.on_conflict_do_update(index_elements=key, set_=again).inline()


def clear_failures(
    connection: Connection, run_id: int, stage: Stage, projects: Sequence[str]
) -> None:
    """Delete the failures of an earlier attempt at a stage that is now repeated."""
    values = {"run": run_id, "of": stage.value, "names": projects}
    prepared.execute(connection, _clear_failures(), values)


@statement
def _clear_failures() -> sql.Delete:
    c = tables.failures.c
    of_stage = (c.run_id == sql.bindparam("run"), c.stage == sql.bindparam("of"))
    return sql.delete(tables.failures).where(*of_stage, among(c.project, "names"))


def failures_of(
    connection: Connection, run_id: int, stage: Stage | None = None
) -> list[FailureRecord]:
    """Return the failures of a run, or of one of its stages, in order."""
    query, values = _failures_of(one_stage=stage is not None), {"run": run_id, "of": stage}
    return mapper.read_all(connection, query, FailureRecord, values)


@statement
def _failures_of(*, one_stage: bool) -> sql.Select[Any]:
    c = tables.failures.c
    query = sql.select(tables.failures).where(c.run_id == sql.bindparam("run")).order_by(c.id)
    return query.where(c.stage == sql.bindparam("of")) if one_stage else query


def running(connection: Connection) -> list[RunRecord]:
    """Return the runs that have not ended, as far as the catalog knows."""
    return mapper.read_all(connection, _running(), RunRecord, {})


@statement
def _running() -> sql.Select[Any]:
    runs = tables.runs
    return sql.select(runs).where(runs.c.state == RUNNING).order_by(runs.c.id)


def recent(
    connection: Connection, limit: int, since: float | None = None, *, undone: bool = False
) -> list[RunRecord]:
    """Return the newest runs, newest first.

    With `since`, only those that began at or after it; with `undone`, only those that ended and did
    not complete.
    """
    query = _recent(late=since is not None, undone=undone)
    return mapper.read_all(connection, query, RunRecord, {"limit": limit, "since": since})


@statement
def _recent(*, late: bool, undone: bool) -> sql.Select[Any]:
    c = tables.runs.c
    query = newest().limit(sql.bindparam("limit", type_=sql.Integer()))
    if undone:
        query = query.where(c.state != COMPLETED, c.state != RUNNING)
    return query.where(c.started_at >= sql.bindparam("since")) if late else query


def newest(*conditions: sql.ColumnElement[bool]) -> sql.Select[Any]:
    """Return the query for the newest run that meets these conditions."""
    return sql.select(tables.runs).where(*conditions).order_by(tables.runs.c.id.desc()).limit(1)


def find(connection: Connection, name: str) -> RunRecord | None:
    """Return the newest run whose name begins with `name`.

    "last" is the newest one that does not serve requests of clients.
    """
    if name == "last":
        return mapper.read_first(connection, _last(), RunRecord, {})
    pattern = re.sub("[/%_]", r"/\g<0>", name) + "%"
    return mapper.read_first(connection, _called(), RunRecord, {"pattern": pattern})


@statement
def _last() -> sql.Select[Any]:
    return newest(tables.runs.c.trigger != REQUEST)


@statement
def _called() -> sql.Select[Any]:
    return newest(tables.runs.c.name.like(sql.bindparam("pattern"), escape="/"))


def last_undone(connection: Connection) -> RunRecord | None:
    """Return the newest sync or verification that did not complete, or None."""
    return mapper.read_first(connection, _last_undone(), RunRecord, {})


@statement
def _last_undone() -> sql.Select[Any]:
    c = tables.runs.c
    return newest(c.state != COMPLETED, sql.or_(c.command == "sync", c.command == "verify"))


def telling(connection: Connection) -> list[RunRecord]:
    """Return the runs whose failures are open: the newest full sync or retry that has ended, and
    the newest verification, if it is newer.
    """
    sync = mapper.read_first(connection, _full_sync(), RunRecord, {})
    since = 0 if sync is None else sync.id
    verified = mapper.read_first(connection, _verified(), RunRecord, {"since": since})
    return [each for each in (sync, verified) if each]


@statement
def _full_sync() -> sql.Select[Any]:
    c = tables.runs.c
    is_full = sql.or_(c.arguments == "[]", c.retry_of.is_not(None))
    return newest(c.state != RUNNING, c.command == "sync", is_full)


@statement
def _verified() -> sql.Select[Any]:
    c = tables.runs.c
    return newest(c.state != RUNNING, c.command == "verify", c.id > sql.bindparam("since"))


def is_made_good(connection: Connection, run: RunRecord, *, is_timed: bool = False) -> bool:
    """Whether a later run completed that did all the work of `run`, or retried it.

    `is_timed`: such a run completes when its time is over, so only a later run without arguments
    counts.
    """
    values = {"after": run.id, "done": run.command, "same": run.arguments, "retried": run.name}
    return prepared.value(connection, _made_good(is_timed=is_timed), values) is not None


@statement
def _made_good(*, is_timed: bool) -> sql.Select[Any]:
    c = tables.runs.c
    counts = sql.and_(c.arguments == "[]", c.retry_of.is_(None))
    if not is_timed:
        same = sql.and_(c.arguments == sql.bindparam("same"), c.retry_of.is_(None))
        counts = sql.or_(counts, same, c.retry_of == sql.bindparam("retried"))
    later = (c.id > sql.bindparam("after"), c.command == sql.bindparam("done"))
    return sql.select(c.id).where(*later, c.state == COMPLETED, counts).limit(1)
