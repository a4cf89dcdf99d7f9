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

import msgspec
from msgspec import Struct
from sqlalchemy import (
    ColumnElement,
    Connection,
    Update,
    bindparam,
    insert,
    or_,
    select,
    update,
)

from pypimirror.catalog.holder import Fate, Holder, Machine
from pypimirror.catalog.mapping import mapper, prepared
from pypimirror.catalog.mapping.prepared import statement
from pypimirror.catalog.queries.leases import now
from pypimirror.catalog.records import WorkerRecord
from pypimirror.catalog.schema import workers
from pypimirror.catalog.states import LOST, WORKING

_is_working = workers.c.state == WORKING

# Plain text: each writing transaction asks this, and SQLAlchemy would take longer than a database.
_ASKED_ON_SQLITE = "SELECT 1 FROM workers WHERE id = ? AND state = 'working'"
_ASKED = (
    "SELECT 1 FROM workers WHERE id = %s AND state = 'working' "
    "AND expires_at > extract(epoch FROM clock_timestamp()) FOR KEY SHARE"
)


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


def hosts_of(connection: Connection, run_id: int) -> set[str]:
    """Return the machines on which a run worked."""
    query = select(workers.c.host).where(workers.c.run_id == run_id)
    return set(connection.execute(query).scalars())


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
        "state": WORKING,
        "started_at": time.time(),
        "expires_at": now(connection) + lifetime,
        "batches": 0,
        "projects": 0,
    }
    result = connection.execute(insert(workers).values(**values))
    return int(result.inserted_primary_key[0])  # type: ignore[index]


def is_working(connection: Connection, worker_id: int) -> bool:
    """Whether a worker still has its claims. It keeps them until the end of this transaction.

    On SQLite, nobody can take them while this transaction writes. So there a late heartbeat is
    harmless as long as nobody has taken them.
    """
    query = _ASKED_ON_SQLITE if connection.dialect.name == "sqlite" else _ASKED
    return connection.exec_driver_sql(query, (worker_id,)).first() is not None


def renew(connection: Connection, worker_id: int, lifetime: float) -> bool:
    """Extend the claims of a worker to `lifetime` seconds from now. Return False if it has lost
    them.
    """
    mine = update(workers).where(workers.c.id == worker_id, _is_working)
    return connection.execute(mine.values(expires_at=now(connection) + lifetime)).rowcount == 1


def progress(
    connection: Connection, worker_id: int, batches: int, projects: int, counts: Mapping[str, int]
) -> None:
    """Record what a worker has done since it began."""
    values = {"b": batches, "p": projects, "c": json.dumps(dict(counts)), "worker": worker_id}
    prepared.execute(connection, _progress(), values)


@statement
def _progress() -> Update:
    mine = update(workers).where(workers.c.id == bindparam("worker"))
    return mine.values(batches=bindparam("b"), projects=bindparam("p"), counts=bindparam("c"))


def end(connection: Connection, worker_id: int, state: str, message: str) -> None:
    """Record how a worker ended, unless others have recorded that it was lost."""
    mine = update(workers).where(workers.c.id == worker_id, _is_working)
    values = {"state": state, "ended_at": time.time(), "message": message or None}
    connection.execute(mine.values(**values))


def others(connection: Connection, run_id: int, but: int) -> list[OtherWorker]:
    """Return the workers of a run that have not ended, except worker `but`."""
    return _working(connection, workers.c.run_id == run_id, workers.c.id != but)


def working(connection: Connection, ids: Collection[int]) -> list[OtherWorker]:
    """Return the workers among these that have not ended."""
    return _working(connection, workers.c.id.in_(ids)) if ids else []


def _working(connection: Connection, *conditions: ColumnElement[bool]) -> list[OtherWorker]:
    columns = (workers.c.id, workers.c.holder, workers.c.expires_at, now(connection).label("now"))
    query = select(*columns).where(_is_working, *conditions)
    return [
        OtherWorker(
            row.id, msgspec.json.decode(row.holder, type=Holder), row.expires_at - float(row.now)
        )
        for row in connection.execute(query)
    ]


def lose(connection: Connection, dead: Collection[int], late: Collection[int]) -> list[int]:
    """Record that workers are lost: dead ones, and those of `late` that are still late.

    Workers that are in the middle of a transaction are left out. Return the lost ones.
    """
    is_late = workers.c.id.in_(late) & (workers.c.expires_at <= now(connection))
    query = select(workers.c.id).where(_is_working, or_(workers.c.id.in_(dead), is_late))
    found = list(connection.scalars(query.with_for_update(skip_locked=True)))
    _set_lost(connection, found, "its process has died, or sent no heartbeat for too long")
    return found


def close(connection: Connection, run_id: int, message: str) -> None:
    """Record that the workers of a run that have not ended are lost. Waits for their commits."""
    query = select(workers.c.id).where(workers.c.run_id == run_id, _is_working)
    _set_lost(connection, list(connection.scalars(query.with_for_update())), message)


def _set_lost(connection: Connection, ids: Collection[int], message: str) -> None:
    if ids:
        these = update(workers).where(workers.c.id.in_(ids))
        connection.execute(these.values(state=LOST, ended_at=time.time(), message=message))


def holders(connection: Connection, ids: Iterable[int]) -> dict[int, Holder]:
    """Return the processes of these workers, of any run, as far as they are still recorded."""
    query = select(workers.c.id, workers.c.holder).where(workers.c.id.in_(ids))
    decode = msgspec.json.decode
    return {row.id: decode(row.holder, type=Holder) for row in connection.execute(query)}


def of_run(connection: Connection, run_id: int) -> list[WorkerRecord]:
    """Return the workers of a run, in the order of their beginning."""
    query = select(workers).where(workers.c.run_id == run_id).order_by(workers.c.id)
    return list(mapper.read(connection, query, WorkerRecord))
