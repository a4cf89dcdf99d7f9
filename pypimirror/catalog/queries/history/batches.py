"""The history of batches: when each entered a stage of its run, and how it left it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from pypimirror.catalog.mapping import mapper, prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.inserts import parameters
from pypimirror.catalog.mapping.prepared import statement
from pypimirror.catalog.records import StageRecord
from pypimirror.catalog.states import CANCELLED, COMPLETED, CRASHED, RUNNING
from pypimirror.domain.model import Stage


def start(connection: Connection, run_id: int, stage: Stage, batch: int) -> int:
    """Record that a batch enters a stage. Return the id of the record."""
    values = {"run_id": run_id, "stage": stage.value, "batch": batch, "started_at": time.time()}
    return int(prepared.value(connection, _start(), values))


@statement
def _start() -> Any:
    stages = tables.stages
    given = parameters("run_id", "stage", "batch", "started_at")
    return sql.insert(stages).values({**given, "state": RUNNING}).returning(stages.c.id)


def last(connection: Connection, run_id: int) -> int:
    """Return the highest number of a batch of a run; 0 if there is none."""
    return prepared.value(connection, _last(in_steps=False), {"run": run_id}) or 0


def free(connection: Connection, run_id: int, number: int, step: int) -> int:
    """Return the number for the next batch: `number`, `number + step` and so on.

    It is the first of these numbers after the highest one that a batch of the run has had.
    """
    values = {"run": run_id, "number": number, "step": step}
    last: int | None = prepared.value(connection, _last(in_steps=True), values)
    return number if last is None else last + step


@statement
def _last(*, in_steps: bool) -> sql.Select[Any]:
    c = tables.stages.c
    query = sql.select(sql.func.max(c.batch)).where(c.run_id == sql.bindparam("run"))
    number, step = (sql.bindparam(name, type_=sql.Integer()) for name in ("number", "step"))
    return query.where(c.batch >= number, (c.batch - number) % step == 0) if in_steps else query


def end(connection: Connection, stage_id: int, state: str, counts: Mapping[str, int]) -> None:
    """Record that a batch has left a stage."""
    values = {"record": stage_id, "outcome": state, "counted": json.dumps(dict(counts))}
    prepared.execute(connection, _end(), {**values, "now": time.time()})


@statement
def _end() -> sql.Update:
    stages = tables.stages
    values = {
        "state": sql.bindparam("outcome"),
        "ended_at": end_of(stages),
        "counts": sql.bindparam("counted"),
    }
    return sql.update(stages).where(stages.c.id == sql.bindparam("record")).values(values)


def end_open(connection: Connection, run_id: int, now: float) -> None:
    """End the open stages of a run at the time `now`: their workers died."""
    prepared.execute(connection, _end_open(), {"run": run_id, "now": now})


@statement
def _end_open() -> sql.Update:
    stages = tables.stages
    left_open = (stages.c.run_id == sql.bindparam("run"), stages.c.state == RUNNING)
    return sql.update(stages).where(*left_open).values(state=CRASHED, ended_at=end_of(stages))


def end_lost(connection: Connection) -> None:
    """End the open stages of closed runs. Call it while no run is open.

    Workers that serve requests record no stages.
    """
    prepared.execute(connection, _end_lost(), {})


@statement
def _end_lost() -> sql.Update:
    stages = tables.stages
    lost = sql.update(stages).where(stages.c.state == RUNNING)
    return lost.values(state=CRASHED, ended_at=stages.c.started_at)


def cancel_crashed(connection: Connection, run_id: int) -> None:
    """Change the stages of a run that were closed as crashed to cancelled."""
    prepared.execute(connection, _cancel_crashed(), {"run": run_id})


@statement
def _cancel_crashed() -> sql.Update:
    stages = tables.stages
    crashed = (stages.c.run_id == sql.bindparam("run"), stages.c.state == CRASHED)
    return sql.update(stages).where(*crashed).values(state=CANCELLED)


def end_of(table: sql.Table) -> sql.ColumnElement[float]:
    """Return the time `now`, or the begin if the clock was set back since."""
    now, began = sql.bindparam("now", type_=sql.Float()), table.c.started_at
    return sql.case((began > now, began), else_=now)


def of_run(connection: Connection, run_id: int, stage: Stage | None = None) -> list[StageRecord]:
    """Return the stages of a run, or all batches of one stage, in order."""
    query, values = _of_run(one_stage=stage is not None), {"run": run_id, "of": stage}
    return mapper.read_all(connection, query, StageRecord, values)


@statement
def _of_run(*, one_stage: bool) -> sql.Select[Any]:
    c = tables.stages.c
    query = sql.select(tables.stages).where(c.run_id == sql.bindparam("run")).order_by(c.id)
    return query.where(c.stage == sql.bindparam("of")) if one_stage else query


def has_looked(connection: Connection, run_id: int) -> bool:
    """Whether a run has completed its first step, the look for changes."""
    return prepared.value(connection, _looked(), {"run": run_id}) is not None


@statement
def _looked() -> sql.Select[Any]:
    c = tables.stages.c
    is_first = (c.stage == Stage.DISCOVER.value, c.batch == 0, c.state == COMPLETED)
    return sql.select(c.id).where(c.run_id == sql.bindparam("run"), *is_first).limit(1)
