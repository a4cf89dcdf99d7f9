"""Queries on workers: who works on a run, and until when its claims hold.

Times of expiry are by the clock of the database, as for the lease. On PostgreSQL, two kinds of
locks on a worker's row keep these functions apart:

* `is_working` locks it `FOR KEY SHARE`, until the end of the transaction. This lock lets the
  heartbeat through, which changes no key.
* `lose` and `close` lock it `FOR UPDATE`, so nobody loses its claims while it commits.

On SQLite there is one writing transaction at a time, so no further lock is needed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from pypimirror.catalog.holder import Fate, Holder, Machine
from pypimirror.catalog.mapping import mapper, prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.inserts import parameters
from pypimirror.catalog.mapping.prepared import Statement, among, statement
from pypimirror.catalog.queries.leases import clock, expiry
from pypimirror.catalog.records import WorkerRecord
from pypimirror.catalog.states import LOST, WORKING


class OtherWorker(Struct, frozen=True):
    """A worker that has not ended, as another one sees it."""

    id: int
    holder: Holder
    left: float  #: seconds until its claims expire; negative afterwards

    def is_gone(self, here: Machine) -> bool:
        """Whether it has lost its claims, as far as a process on `here` can tell.

        A live process that sends no heartbeat hangs, or is stopped. So it loses its claims too.
        """
        return self.left <= 0 or self.holder.fate(here) is Fate.DEAD


def _of_run() -> sql.ColumnElement[bool]:
    return tables.workers.c.run_id == sql.bindparam("run")


def _is_it() -> sql.ColumnElement[bool]:
    return tables.workers.c.id == sql.bindparam("worker")


def _works() -> sql.ColumnElement[bool]:
    return tables.workers.c.state == WORKING


def hosts_of(connection: Connection, run_id: int) -> set[str]:
    """Return the machines on which a run worked."""
    return {row[0] for row in prepared.rows(connection, _hosts_of(), {"run": run_id})}


@statement
def _hosts_of() -> sql.Select[Any]:
    return sql.select(tables.workers.c.host).where(_of_run())


def start(
    connection: Connection, run_id: int, executor: str, name: str, holder: Holder, lifetime: float
) -> int:
    """Record a worker of a run, with claims that hold for `lifetime` seconds. Return its id."""
    values = {
        "run_id": run_id,
        "name": name,
        "executor": executor,
        "holder": msgspec.json.encode(holder).decode(),
        "host": holder.machine.host,
        "started_at": time.time(),
        "now": time.time(),
        "lifetime": lifetime,
    }
    return int(prepared.value(connection, _start(connection.dialect.name), values))


@statement
def _start(dialect: str) -> sql.Insert:
    given = ("run_id", "name", "executor", "holder", "host", "started_at")
    values = {
        **parameters(*given),
        "state": WORKING,
        "expires_at": expiry(dialect),
        "batches": 0,
        "projects": 0,
    }
    return sql.insert(tables.workers).values(values).returning(tables.workers.c.id)


def is_working(connection: Connection, worker_id: int) -> bool:
    """Whether a worker still has its claims. It keeps them until the end of this transaction.

    On SQLite, nobody can take them while this transaction writes. So there a late heartbeat is
    harmless as long as nobody has taken them.
    """
    query = _is_working(connection.dialect.name)
    return bool(prepared.rows(connection, query, {"worker": worker_id}))


@statement
def _is_working(dialect: str) -> sql.Select[Any]:
    query = sql.select(tables.workers.c.id).where(_is_it(), _works())
    if dialect == "sqlite":
        return query
    query = query.where(tables.workers.c.expires_at > clock(dialect))
    return query.with_for_update(read=True, key_share=True)


def renew(connection: Connection, worker_id: int, lifetime: float) -> bool:
    """Extend the claims of a worker to `lifetime` seconds from now. Return False if it has lost
    them.
    """
    values = {"worker": worker_id, "now": time.time(), "lifetime": lifetime}
    return prepared.execute(connection, _renew(connection.dialect.name), values) == 1


@statement
def _renew(dialect: str) -> sql.Update:
    mine = sql.update(tables.workers).where(_is_it(), _works())
    return mine.values(expires_at=expiry(dialect))


def progress(
    connection: Connection, worker_id: int, batches: int, projects: int, counts: Mapping[str, int]
) -> None:
    """Record what a worker has done since it began."""
    values = {"b": batches, "p": projects, "c": json.dumps(dict(counts)), "worker": worker_id}
    prepared.execute(connection, _progress(), values)


@statement
def _progress() -> sql.Update:
    mine = sql.update(tables.workers).where(_is_it())
    return mine.values(
        batches=sql.bindparam("b"), projects=sql.bindparam("p"), counts=sql.bindparam("c")
    )


def end(connection: Connection, worker_id: int, state: str, message: str) -> None:
    """Record how a worker ended, unless others have recorded that it was lost."""
    values = {"worker": worker_id, **_ended(state, message or None)}
    prepared.execute(connection, _end(), values)


@statement
def _end() -> sql.Update:
    return _set_ended().where(_is_it(), _works())


def _set_ended() -> sql.Update:
    names = ("state", "ended_at", "message")
    return sql.update(tables.workers).values({name: sql.bindparam(f"new_{name}") for name in names})


def _ended(state: str, message: str | None) -> dict[str, Any]:
    """Return the parameters of `_set_ended`."""
    return {"new_state": state, "new_ended_at": time.time(), "new_message": message}


def others(connection: Connection, run_id: int, but: int) -> list[OtherWorker]:
    """Return the workers of a run that have not ended, except worker `but`."""
    return _read(connection, _others(connection.dialect.name), {"run": run_id, "worker": but})


@statement
def _others(dialect: str) -> sql.Select[Any]:
    return _seen(dialect).where(_of_run(), tables.workers.c.id != sql.bindparam("worker"))


def working(connection: Connection, ids: Collection[int]) -> list[OtherWorker]:
    """Return the workers among these that have not ended."""
    return _read(connection, _working(connection.dialect.name), {"ids": ids}) if ids else []


@statement
def _working(dialect: str) -> sql.Select[Any]:
    return _seen(dialect).where(among(tables.workers.c.id))


def _seen(dialect: str) -> sql.Select[Any]:
    """Return a query for those that have not ended, for `_read`."""
    workers = tables.workers
    query = sql.select(workers.c.id, workers.c.holder, workers.c.expires_at, clock(dialect))
    return query.where(_works())


def _read(connection: Connection, query: Statement, values: Mapping[str, Any]) -> list[OtherWorker]:
    values = {**values, "now": time.time()}
    return [
        OtherWorker(number, _holder(text), expires_at - float(at))
        for number, text, expires_at, at in prepared.rows(connection, query, values)
    ]


def _holder(text: str) -> Holder:
    return msgspec.json.decode(text, type=Holder)


def lose(connection: Connection, dead: Collection[int], late: Collection[int]) -> list[int]:
    """Record that workers are lost: dead ones, and those of `late` that are still late.

    Workers that are in the middle of a transaction are left out. Return the lost ones.
    """
    values = {"dead": dead, "late": late, "now": time.time()}
    rows = prepared.rows(connection, _to_lose(connection.dialect.name), values)
    found = [row[0] for row in rows]
    _set_lost(connection, found, "its process has died, or sent no heartbeat for too long")
    return found


@statement
def _to_lose(dialect: str) -> sql.Select[Any]:
    workers = tables.workers
    is_late = among(workers.c.id, "late") & (workers.c.expires_at <= clock(dialect))
    query = sql.select(workers.c.id).where(_works(), among(workers.c.id, "dead") | is_late)
    return query.with_for_update(skip_locked=True)


def close(connection: Connection, run_id: int, message: str) -> None:
    """Record that the workers of a run that have not ended are lost. Waits for their commits."""
    found = prepared.rows(connection, _to_close(), {"run": run_id})
    _set_lost(connection, [row[0] for row in found], message)


@statement
def _to_close() -> sql.Select[Any]:
    return sql.select(tables.workers.c.id).where(_of_run(), _works()).with_for_update()


def _set_lost(connection: Connection, ids: Collection[int], message: str) -> None:
    if ids:
        prepared.execute(connection, _lost(), {"ids": ids, **_ended(LOST, message)})


@statement
def _lost() -> sql.Update:
    return _set_ended().where(among(tables.workers.c.id))


def holders(connection: Connection, ids: Iterable[int]) -> dict[int, Holder]:
    """Return the processes of these workers, of any run, as far as they are still recorded."""
    found = prepared.rows(connection, _holders(), {"ids": ids})
    return {number: _holder(text) for number, text in found}


@statement
def _holders() -> sql.Select[Any]:
    workers = tables.workers
    return sql.select(workers.c.id, workers.c.holder).where(among(workers.c.id))


def of_run(connection: Connection, run_id: int) -> list[WorkerRecord]:
    """Return the workers of a run, in the order of their beginning."""
    return mapper.read_all(connection, _all_of_run(), WorkerRecord, {"run": run_id})


@statement
def _all_of_run() -> sql.Select[Any]:
    return sql.select(tables.workers).where(_of_run()).order_by(tables.workers.c.id)
