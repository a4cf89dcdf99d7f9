"""The history: runs, their stages and their failures."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    Float,
    Insert,
    Update,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from pypimirror import __version__
from pypimirror.catalog import holder
from pypimirror.catalog.mapping import mapper, prepared
from pypimirror.catalog.mapping.inserts import insert_into
from pypimirror.catalog.mapping.prepared import among, statement
from pypimirror.catalog.queries.work import claims
from pypimirror.catalog.records import FailureRecord, RunRecord, StageRecord
from pypimirror.catalog.schema import failures, runs, stages, workers
from pypimirror.catalog.states import CANCELLED as CANCELLED
from pypimirror.catalog.states import COMPLETED as COMPLETED
from pypimirror.catalog.states import CRASHED as CRASHED
from pypimirror.catalog.states import FAILED as FAILED
from pypimirror.catalog.states import INCOMPLETE as INCOMPLETE
from pypimirror.catalog.states import REQUEST, WORKING
from pypimirror.catalog.states import RUNNING as RUNNING
from pypimirror.domain.model import Problem, Reason, Stage


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
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{secrets.token_hex(3)}"
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
        "state": RUNNING,
        "started_at": now,
    }
    result = connection.execute(insert(runs).values(**values))
    return int(result.inserted_primary_key[0]), name  # type: ignore[index]


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
    values = {"state": state, "message": message, "counts": json.dumps(dict(counts))}
    closed = connection.execute(
        update(runs)
        .where(runs.c.id == run_id, runs.c.state == RUNNING)
        .values(ended_at=_after(runs.c.started_at), **values)
    )
    if had_work and closed.rowcount:
        claims.end_run(connection, run_id, "its run has ended")
        left_open = update(stages).where(stages.c.run_id == run_id, stages.c.state == RUNNING)
        connection.execute(left_open.values(state=CRASHED, ended_at=_after(stages.c.started_at)))


def under_way(connection: Connection, pid: int, host: str) -> str:
    """Return the name of the running run of a process; "" if there is none."""
    of_process = (runs.c.state == RUNNING, runs.c.pid == pid, runs.c.host == host)
    return connection.scalar(select(runs.c.name).where(*of_process)) or ""


def _after(began: ColumnElement[float]) -> ColumnElement[float]:
    """Return the time now, or the begin if the clock was set back since."""
    return _later(literal(time.time()), began)


def _later(now: ColumnElement[float], began: ColumnElement[float]) -> ColumnElement[float]:
    return case((began > now, began), else_=now)


def close_crashed(connection: Connection) -> int:
    """Close the runs that died, with the counts that their stages recorded. Return their number.

    Call it with the lease held and before a run is started: then every running run is dead.
    """
    dead = running(connection)
    for run in dead:
        counts: Counter[str] = Counter()
        last = run.started_at
        for row in stages_of(connection, run.id):
            counts.update(json.loads(row.counts or "{}"))
            last = max(last, row.started_at, row.ended_at or 0)
        ending = {"state": CRASHED, "ended_at": last}
        left_open = update(stages).where(stages.c.run_id == run.id, stages.c.state == RUNNING)
        connection.execute(left_open.values(**ending))
        message = f"process {run.pid} on {run.host} died without closing its run"
        claims.end_run(connection, run.id, message)
        connection.execute(
            update(runs)
            .where(runs.c.id == run.id)
            .values(message=message, counts=json.dumps(counts), **ending)
        )
    # Stages that are still open although their run was closed. Requests record none.
    lost = update(stages).where(stages.c.state == RUNNING)
    connection.execute(lost.values(state=CRASHED, ended_at=stages.c.started_at))
    return len(dead)


def call_cancelled(connection: Connection, name: str, message: str) -> None:
    """Change a run that was closed as crashed to cancelled, because somebody ended it on
    purpose.
    """
    crashed = select(runs.c.id).where(runs.c.name == name, runs.c.state == CRASHED)
    run_id = connection.scalar(crashed)
    if run_id is None:
        return
    of_run = update(stages).where(stages.c.run_id == run_id, stages.c.state == CRASHED)
    connection.execute(of_run.values(state=CANCELLED))
    values = {"state": CANCELLED, "message": message}
    connection.execute(update(runs).where(runs.c.id == run_id).values(**values))


def start_stage(connection: Connection, run_id: int, stage: Stage, batch: int) -> int:
    """Record that a batch enters a stage. Return the id of the record."""
    values = {"run_id": run_id, "stage": stage, "batch": batch, "state": RUNNING}
    result = connection.execute(_start_stage(), {**values, "started_at": time.time()})
    return int(result.inserted_primary_key[0])  # type: ignore[index]


@cache
def _start_stage() -> Insert:
    return insert(stages)


def last_batch(connection: Connection, run_id: int) -> int:
    """Return the highest number of a batch of a run; 0 if there is none."""
    return connection.scalar(select(func.max(stages.c.batch)).where(stages.c.run_id == run_id)) or 0


def free_batch(connection: Connection, run_id: int, number: int, step: int) -> int:
    """Return the number for the next batch: `number`, `number + step` and so on.

    It is the first of these numbers after the highest one that a batch of the run has had.
    """
    same = (stages.c.batch >= number, (stages.c.batch - number) % step == 0)
    query = select(func.max(stages.c.batch)).where(stages.c.run_id == run_id, *same)
    last: int | None = connection.scalar(query)
    return number if last is None else last + step


def end_stage(connection: Connection, stage_id: int, state: str, counts: Mapping[str, int]) -> None:
    """Record that a batch has left a stage."""
    values = {"record": stage_id, "outcome": state, "counted": json.dumps(dict(counts))}
    prepared.execute(connection, _end_stage(), {**values, "now": time.time()})


@statement
def _end_stage() -> Update:
    ended_at = _later(bindparam("now", type_=Float), stages.c.started_at)
    values = {"state": bindparam("outcome"), "ended_at": ended_at, "counts": bindparam("counted")}
    return update(stages).where(stages.c.id == bindparam("record")).values(values)


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
    if not rows:
        return
    statement = insert_into(connection, failures)
    statement = statement.on_conflict_do_update(
        index_elements=["run_id", "stage", "project", "file"],
        set_={key: statement.excluded[key] for key in ("reason", "message", "url", "attempts")},
    )
    connection.execute(statement, list(rows.values()))


def clear_failures(
    connection: Connection, run_id: int, stage: Stage, projects: Sequence[str]
) -> None:
    """Delete the failures of an earlier attempt at a stage that is now repeated."""
    values = {"run": run_id, "of": stage.value, "names": projects}
    prepared.execute(connection, _clear_failures(), values)


@statement
def _clear_failures() -> Delete:
    c = failures.c
    in_run = (c.run_id == bindparam("run"), c.stage == bindparam("of"))
    return delete(failures).where(*in_run, among(c.project, "names"))


def failures_of(
    connection: Connection, run_id: int, stage: Stage | None = None
) -> list[FailureRecord]:
    """Return the failures of a run, or of one of its stages, in order."""
    query = select(failures).where(failures.c.run_id == run_id).order_by(failures.c.id)
    if stage is not None:
        query = query.where(failures.c.stage == stage)
    return list(mapper.read(connection, query, FailureRecord))


def failing(connection: Connection, run_ids: Sequence[int]) -> dict[str, int]:
    """Return the number of failures of these runs by reason. The same failure in several runs
    counts once.
    """
    c = failures.c
    found = select(c.reason, c.project, c.file).where(c.run_id.in_(run_ids))
    each = found.subquery() if len(run_ids) == 1 else found.distinct().subquery()
    query = select(each.c.reason, func.count()).group_by(each.c.reason)
    return {row[0]: row[1] for row in connection.execute(query)}


def some_failing(
    connection: Connection, run_ids: Sequence[int], reason: Reason, number: int
) -> list[FailureRecord]:
    """Return the newest `number` failures of these runs with this reason."""
    c = failures.c
    query = select(failures).where(c.run_id.in_(run_ids), c.reason == reason)
    return list(mapper.read(connection, query.order_by(c.id.desc()).limit(number), FailureRecord))


def stages_of(connection: Connection, run_id: int, stage: Stage | None = None) -> list[StageRecord]:
    """Return the stages of a run, or all batches of one stage, in order."""
    query = select(stages).where(stages.c.run_id == run_id).order_by(stages.c.id)
    if stage is not None:
        query = query.where(stages.c.stage == stage)
    return list(mapper.read(connection, query, StageRecord))


def running(connection: Connection) -> list[RunRecord]:
    """Return the runs that have not ended, as far as the catalog knows."""
    query = select(runs).where(runs.c.state == RUNNING).order_by(runs.c.id)
    return list(mapper.read(connection, query, RunRecord))


def recent(
    connection: Connection, limit: int, since: float | None = None, *, undone: bool = False
) -> list[RunRecord]:
    """Return the newest runs, newest first.

    With `since`, only those that began at or after it; with `undone`, only those that ended and did
    not complete.
    """
    query = select(runs).order_by(runs.c.id.desc()).limit(limit)
    if undone:
        query = query.where(runs.c.state.not_in([COMPLETED, RUNNING]))
    if since is not None:
        query = query.where(runs.c.started_at >= since)
    return list(mapper.read(connection, query, RunRecord))


def find(connection: Connection, name: str) -> RunRecord | None:
    """Return the newest run whose name begins with `name`.

    "last" is the newest one that does not serve requests of clients.
    """
    query = select(runs).order_by(runs.c.id.desc())
    is_meant = runs.c.name.startswith(name, autoescape=True)
    query = query.where(runs.c.trigger != REQUEST if name == "last" else is_meant)
    return mapper.first(connection, query, RunRecord)


def last_undone(connection: Connection) -> RunRecord | None:
    """Return the newest sync or verification that did not complete, or None."""
    query = select(runs).where(runs.c.state != COMPLETED, runs.c.command.in_(["sync", "verify"]))
    return mapper.first(connection, query.order_by(runs.c.id.desc()), RunRecord)


def telling(connection: Connection) -> list[RunRecord]:
    """Return the runs whose failures are open: the newest full sync or retry that has ended, and
    the newest verification, if it is newer.
    """
    ended = select(runs).where(runs.c.state != RUNNING).order_by(runs.c.id.desc())
    whole = or_(runs.c.arguments == "[]", runs.c.retry_of.is_not(None))
    sync = mapper.first(connection, ended.where(runs.c.command == "sync", whole), RunRecord)
    since = 0 if sync is None else sync.id
    verified = ended.where(runs.c.command == "verify", runs.c.id > since)
    return [each for each in (sync, mapper.first(connection, verified, RunRecord)) if each]


def has_looked(connection: Connection, run_id: int) -> bool:
    """Whether a run has completed its first step, the look for changes."""
    looked = select(stages.c.id).where(
        stages.c.run_id == run_id,
        stages.c.stage == Stage.DISCOVER,
        stages.c.batch == 0,
        stages.c.state == COMPLETED,
    )
    return connection.execute(looked.limit(1)).first() is not None


def is_made_good(connection: Connection, run: RunRecord, *, is_timed: bool = False) -> bool:
    """Whether a later run completed that did all the work of `run`, or retried it.

    `is_timed`: such a run completes when its time is over, so only a later run without arguments
    counts.
    """
    alike = runs.c.arguments.in_(["[]"] if is_timed else ["[]", run.arguments])
    counts = alike & runs.c.retry_of.is_(None)
    if not is_timed:
        counts |= runs.c.retry_of == run.name
    later = select(runs.c.id).where(
        runs.c.id > run.id, runs.c.command == run.command, runs.c.state == COMPLETED, counts
    )
    return connection.execute(later.limit(1)).first() is not None


def outlived(connection: Connection, keep: int, before: float, limit: int) -> list[int]:
    """Return ids of the oldest runs beyond the newest `keep`, or that began before a time.

    The last run is never among them. For each command, neither is the last completed run, nor the
    last one that completed without arguments. Nor is a run of a worker that works now.
    """
    beyond = select(runs.c.id).order_by(runs.c.id.desc()).offset(keep).limit(1)
    query = (
        select(runs.c.id)
        .where(or_(runs.c.started_at < before, runs.c.id <= beyond.scalar_subquery()))
        .order_by(runs.c.id)
    )
    if connection.scalar(query.limit(1)) is None:
        return []
    last = select(func.max(runs.c.id))
    of_workers = select(workers.c.run_id).where(workers.c.state == WORKING)
    complete = last.where(runs.c.state == COMPLETED).group_by(runs.c.command)
    kept = {
        number
        for each in (last, complete, complete.where(runs.c.arguments == "[]"), of_workers)
        for number in connection.scalars(each)
    }
    return list(connection.scalars(query.where(runs.c.id.not_in(kept)).limit(limit)))


def forget_some(connection: Connection, run_id: int, limit: int) -> int:
    """Delete at most `limit` rows of a run, the run itself last. Return how many were deleted."""
    deleted = 0
    for table in (failures, stages, workers):
        rows = select(table.c.id).where(table.c.run_id == run_id).limit(limit - deleted)
        deleted += connection.execute(delete(table).where(table.c.id.in_(rows))).rowcount
        if deleted == limit:
            return deleted
    return deleted + connection.execute(delete(runs).where(runs.c.id == run_id)).rowcount
