"""The failures of several runs together, as the status shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pypimirror.catalog.mapping import mapper, prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.prepared import among, statement
from pypimirror.catalog.records import FailureRecord
from pypimirror.domain.model import Reason


def by_reason(connection: Connection, run_ids: Sequence[int]) -> dict[str, int]:
    """Return the number of failures of these runs by reason. The same failure in several runs
    counts once.
    """
    query = _by_reason(several=len(run_ids) > 1)
    return {row[0]: row[1] for row in prepared.rows(connection, query, {"ids": run_ids})}


@statement
def _by_reason(*, several: bool) -> sql.Select[Any]:
    c = tables.failures.c
    found = sql.select(c.reason, c.project, c.file).where(among(c.run_id))
    each = (found.distinct() if several else found).subquery()
    return sql.select(each.c.reason, sql.func.count()).group_by(each.c.reason)


def newest(
    connection: Connection, run_ids: Sequence[int], reason: Reason, number: int
) -> list[FailureRecord]:
    """Return the newest `number` failures of these runs with this reason."""
    values = {"ids": run_ids, "why": reason.value, "limit": number}
    return mapper.read_all(connection, _newest(), FailureRecord, values)


@statement
def _newest() -> sql.Select[Any]:
    failures = tables.failures
    is_meant = (among(failures.c.run_id), failures.c.reason == sql.bindparam("why"))
    query = sql.select(failures).where(*is_meant).order_by(failures.c.id.desc())
    return query.limit(sql.bindparam("limit", type_=sql.Integer()))
