"""Queries on the lease: which process, on which machine, works on the mirror.

On PostgreSQL the times are those of the database's clock, so the machines' clocks need not agree.
SQLite has no clock of its own: its processes run on one machine and share its clock.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
from msgspec import Struct

from pypimirror.catalog.holder import Fate, Holder, Machine
from pypimirror.catalog.mapping import prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.prepared import statement

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
    query = _find(connection.dialect.name, change=change)
    for text, expires_at, at in prepared.rows(connection, query, {"now": time.time()}):
        holder = msgspec.json.decode(text, type=Holder)
        return TakenLease(holder, expires_at - float(at))
    return None


@statement
def _find(dialect: str, *, change: bool) -> sql.Select[Any]:
    leases = tables.leases
    columns = (leases.c.holder, leases.c.expires_at, clock(dialect).label("now"))
    query = sql.select(*columns).where(leases.c.name == _NAME)
    return query.with_for_update() if change else query


def put(connection: Connection, holder: Holder, lifetime: float) -> None:
    """Give the lease to `holder` for `lifetime` seconds. The previous holder loses it."""
    prepared.execute(connection, _delete(), {})
    values = _until(lifetime) | {"held_by": _text(holder)}
    prepared.execute(connection, _insert(connection.dialect.name), values)


@statement
def _delete() -> sql.Delete:
    return sql.delete(tables.leases).where(tables.leases.c.name == _NAME)


@statement
def _insert(dialect: str) -> sql.Insert:
    return sql.insert(tables.leases).values(
        name=_NAME, holder=sql.bindparam("held_by"), expires_at=expiry(dialect)
    )


def renew(connection: Connection, holder: Holder, lifetime: float) -> bool:
    """Extend the lease of `holder` by `lifetime` seconds from now. Return False if it was lost."""
    values = _until(lifetime) | {"held_by": _text(holder)}
    return prepared.execute(connection, _renew(connection.dialect.name), values) == 1


@statement
def _renew(dialect: str) -> sql.Update:
    return sql.update(tables.leases).where(_is_of_holder()).values(expires_at=expiry(dialect))


def shorten(connection: Connection, lifetime: float) -> None:
    """Let the lease end in `lifetime` seconds at the latest. It can still be renewed."""
    prepared.execute(connection, _shorten(connection.dialect.name), _until(lifetime))


@statement
def _shorten(dialect: str) -> sql.Update:
    leases = tables.leases
    late = (leases.c.name == _NAME, leases.c.expires_at > expiry(dialect))
    return sql.update(leases).where(*late).values(expires_at=expiry(dialect))


def drop(connection: Connection, holder: Holder) -> None:
    """Release the lease, if `holder` still has it."""
    prepared.execute(connection, _drop(), {"held_by": _text(holder)})


@statement
def _drop() -> sql.Delete:
    return sql.delete(tables.leases).where(_is_of_holder())


def _is_of_holder() -> sql.ColumnElement[bool]:
    leases = tables.leases
    return sql.and_(leases.c.name == _NAME, leases.c.holder == sql.bindparam("held_by"))


def expiry(dialect: str) -> Any:
    """Return the time in `lifetime` seconds, which is a parameter of the statement too."""
    return clock(dialect) + sql.bindparam("lifetime", type_=sql.Float())


def _until(lifetime: float) -> dict[str, Any]:
    """Return the parameters of `expiry`."""
    return {"now": time.time(), "lifetime": lifetime}


def _text(holder: Holder) -> str:
    return msgspec.json.encode(holder).decode()


def clock(dialect: str) -> Any:
    """Return the time of the database's clock as an expression, in seconds since the epoch.

    On SQLite, it is the parameter `now` of the statement. PostgreSQL ignores this parameter.
    """
    if dialect == "postgresql":
        # The current time: now() would be the time when the transaction began.
        return sql.func.extract("epoch", sql.func.clock_timestamp())
    return sql.bindparam("now", type_=sql.Float())
