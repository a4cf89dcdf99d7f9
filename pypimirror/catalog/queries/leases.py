"""Queries on the lease: which process, on which machine, works on the mirror.

On PostgreSQL the times are those of the database's clock, so the machines' clocks need not agree.
SQLite has no clock of its own: its processes run on one machine and share its clock.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, delete, func, insert, literal, select, update

from pypimirror.catalog.holder import Fate, Holder, Machine
from pypimirror.catalog.schema import leases

#: The name of the only lease.
_NAME = "run"


class TakenLease(Struct, frozen=True):
    """The lease as it was read."""

    holder: Holder
    left: float  #: seconds until it expires; negative afterwards

    def is_in_force(self, here: Machine) -> bool:
        """Whether its holder may still be working, as far as `here` can tell."""
        fate = self.holder.fate(here)
        return fate is Fate.ALIVE or (fate is Fate.UNKNOWN and self.left > 0)


def find(connection: Connection, *, change: bool) -> TakenLease | None:
    """Return the lease, if there is one.

    With `change`, the row is locked until the end of this transaction, also against its holder.
    """
    columns = (leases.c.holder, leases.c.expires_at, now(connection).label("now"))
    query = select(*columns).where(leases.c.name == _NAME)
    if change:
        query = query.with_for_update()
    row = connection.execute(query).first()
    if row is None:
        return None
    holder = msgspec.json.decode(row.holder, type=Holder)
    return TakenLease(holder, row.expires_at - float(row.now))


def put(connection: Connection, holder: Holder, lifetime: float) -> None:
    """Give the lease to `holder` for `lifetime` seconds. The previous holder loses it."""
    connection.execute(delete(leases).where(leases.c.name == _NAME))
    values = {"name": _NAME, "holder": _text(holder), "expires_at": now(connection) + lifetime}
    connection.execute(insert(leases).values(**values))


def renew(connection: Connection, holder: Holder, lifetime: float) -> bool:
    """Extend the lease of `holder` by `lifetime` seconds from now. Return False if it was lost."""
    mine = update(leases).where(leases.c.name == _NAME, leases.c.holder == _text(holder))
    return connection.execute(mine.values(expires_at=now(connection) + lifetime)).rowcount == 1


def shorten(connection: Connection, lifetime: float) -> None:
    """Let the lease end in `lifetime` seconds at the latest. It can still be renewed."""
    end = now(connection) + lifetime
    late = update(leases).where(leases.c.name == _NAME, leases.c.expires_at > end)
    connection.execute(late.values(expires_at=end))


def drop(connection: Connection, holder: Holder) -> None:
    """Release the lease, if `holder` still has it."""
    connection.execute(
        delete(leases).where(leases.c.name == _NAME, leases.c.holder == _text(holder))
    )


def _text(holder: Holder) -> str:
    return msgspec.json.encode(holder).decode()


def now(connection: Connection) -> Any:
    """Return the time of the database's clock as an expression, in seconds since the epoch."""
    if connection.dialect.name == "postgresql":
        return clock_of_server()
    return literal(time.time())


def clock_of_server() -> Any:
    """Return the time of PostgreSQL's clock as an expression, in seconds since the epoch."""
    # The current time: now() would be the time when the transaction began.
    return func.extract("epoch", func.clock_timestamp())
