"""Queries on the lease: which process, on which machine, works on the mirror."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from pypimirror.catalog.schema import leases

#: The one lease there is; its row is locked while it is looked at.
_NAME = "run"


def get(connection: Connection) -> Row[Any] | None:
    """Return the lease, if one is held."""
    query = select(leases).where(leases.c.name == _NAME).with_for_update()
    return connection.execute(query).first()


def put(connection: Connection, holder: str, expires_at: float) -> None:
    """Write the lease, whoever had it."""
    connection.execute(delete(leases).where(leases.c.name == _NAME))
    row = {"name": _NAME, "holder": holder, "expires_at": expires_at}
    connection.execute(insert(leases), [row])


def renew(connection: Connection, holder: str, expires_at: float) -> bool:
    """Prolong the lease; return whether `holder` still had it."""
    mine = update(leases).where(leases.c.name == _NAME, leases.c.holder == holder)
    return connection.execute(mine.values(expires_at=expires_at)).rowcount == 1


def drop(connection: Connection, holder: str) -> None:
    """Give the lease back, if `holder` still has it."""
    connection.execute(delete(leases).where(leases.c.name == _NAME, leases.c.holder == holder))
