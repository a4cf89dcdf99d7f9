"""Queries on the entries of the root index: all entries, stale entries, and the head.

`projects.root_entry_stale` is set in the transaction that changes what the root index must contain
for a project: when its page is written (`pypimirror.pipeline.publish.publish`), and when it is
removed (`projects.set_gone`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from pypimirror.catalog.mapping import mapper, prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.prepared import statement
from pypimirror.catalog.records import StaleRootIndexEntry

T = TypeVar("T")


def root_entries(
    connection: Connection, with_gone: bool, make: Callable[[str, int | None], T]
) -> Iterator[T]:
    """Stream `make(name, page serial)` for each project that has a page.

    They are sorted by the bytes of their names. With `with_gone`, removed projects are included. No
    record is built in between, because these are all projects.
    """
    query = _root_entries(connection.dialect.name, with_gone=with_gone)
    for name, serial in prepared.stream(connection, query, {}):
        yield make(name, serial)


@statement
def _root_entries(dialect: str, *, with_gone: bool) -> sql.Select[Any]:
    columns = tables.projects.c
    return _on_disk(dialect, sql.select(columns.name, columns.page_serial), with_gone)


def root_names(connection: Connection, with_gone: bool) -> Iterator[str]:
    """Stream only the names, in the same order."""
    query = _root_names(connection.dialect.name, with_gone=with_gone)
    for row in prepared.stream(connection, query, {}):
        yield row[0]


@statement
def _root_names(dialect: str, *, with_gone: bool) -> sql.Select[Any]:
    return _on_disk(dialect, sql.select(tables.projects.c.name), with_gone)


def _on_disk(dialect: str, query: sql.Select[Any], with_gone: bool) -> sql.Select[Any]:
    columns = tables.projects.c
    # This expression makes the database sort instead of reading in the order of the index on names,
    # which jumps all over the table. That takes a third of the time, or a tenth if the index is not
    # in memory.
    name: sql.ColumnElement[str] = columns.name.concat("")
    if dialect == "postgresql":  # else it sorts by the rules of a language
        name = name.collate("C")
    query = query.where(columns.page_on_disk.is_(True)).order_by(name)
    return query if with_gone else query.where(columns.removal_cause.is_(None))


def to_relist(connection: Connection, limit: int) -> list[StaleRootIndexEntry]:
    """Return at most `limit` projects whose entries in the root index may be stale."""
    return mapper.read_all(connection, _to_relist(), StaleRootIndexEntry, {"limit": limit})


@statement
def _to_relist() -> sql.Select[Any]:
    columns = tables.projects.c
    query = mapper.select_record(StaleRootIndexEntry, tables.projects)
    query = query.where(columns.root_entry_stale.is_(True)).order_by(columns.id)
    return query.limit(sql.bindparam("limit", type_=sql.Integer))


def is_to_relist(connection: Connection, *, with_gone: bool) -> bool:
    """Whether any entry may be stale. `with_gone`: entries of removed projects do not count."""
    return prepared.value(connection, _is_to_relist(with_gone=with_gone), {}) is not None


@statement
def _is_to_relist(*, with_gone: bool) -> sql.Select[Any]:
    columns = tables.projects.c
    query = sql.select(columns.id).where(columns.root_entry_stale.is_(True)).limit(1)
    return query.where(columns.removal_cause.is_(None)) if with_gone else query


def relisted(connection: Connection) -> None:
    """Note that all entries of the root index are right, except those of removed projects.

    Whether the index lists a removed project with a page depends on the deletion guard.
    """
    prepared.execute(connection, _relisted(), {})


@statement
def _relisted() -> sql.Update:
    columns = tables.projects.c
    known = sql.update(tables.projects).where(
        columns.root_entry_stale.is_(True), columns.removal_cause.is_(None)
    )
    return known.values(root_entry_stale=None)


def newest_api(connection: Connection) -> str | None:
    """Return the highest API version of all pages, as text.

    There are few, so each is looked up in the index after the one before.
    """
    versions = [""]
    while found := prepared.value(connection, _next_api(), {"after": versions[-1]}):
        versions.append(found)
    by_number = (([int(part) for part in text.split(".")], text) for text in versions[1:])
    return max(by_number, default=([], None))[1]


@statement
def _next_api() -> sql.Select[Any]:
    version = tables.projects.c.api_version
    return sql.select(sql.func.min(version)).where(version > sql.bindparam("after"))


def newest_serial(connection: Connection) -> int | None:
    """Return the highest serial of all pages."""
    newest: int | None = prepared.value(connection, _newest_serial(), {})
    return newest


@statement
def _newest_serial() -> sql.Select[Any]:
    return sql.select(sql.func.max(tables.projects.c.page_serial))
