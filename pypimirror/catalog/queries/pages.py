"""Queries on pages as they are on disk: all, those to remove, those to render again."""

from __future__ import annotations

from typing import Any

from pypimirror.catalog.mapping import mapper, prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.prepared import statement
from pypimirror.catalog.queries.projects import CHUNK
from pypimirror.catalog.records import ProjectRecord

_LARGE = 2**31 - 1  #: a prime


def live_after(connection: Connection, after: int, limit: int) -> list[ProjectRecord]:
    """Return projects with a page, in the order of their ids, after id `after`."""
    values = {"after": after, "limit": limit}
    return mapper.read_all(connection, _live_after(), ProjectRecord, values)


@statement
def _live_after() -> sql.Select[Any]:
    columns = tables.projects.c
    query = sql.select(tables.projects).where(columns.page_on_disk.is_(True))
    return _next(query.where(columns.id > sql.bindparam("after")))


def to_remove(connection: Connection, after: int = 0) -> list[ProjectRecord]:
    """Return the next removed projects, after id `after`, whose pages may still be on disk.

    If a page is stale, a run that died may have written it without noting it.
    """
    values = {"after": after, "limit": CHUNK}
    return mapper.read_all(connection, _to_remove(), ProjectRecord, values)


@statement
def _to_remove() -> sql.Select[Any]:
    columns = tables.projects.c
    query = sql.select(tables.projects).where(
        columns.has_work.is_(True),
        sql.or_(columns.page_on_disk.is_(True), columns.page_stale.is_(True)),
        columns.removal_cause.is_not(None),
        columns.id > sql.bindparam("after"),
    )
    return _next(query)


def _next(query: sql.Select[Any]) -> sql.Select[Any]:
    limit = sql.bindparam("limit", type_=sql.Integer)
    return query.order_by(tables.projects.c.id).limit(limit)


def settle(connection: Connection, *, with_gone: bool) -> None:
    """Treat all pages as written, and with `with_gone`, those of removed projects as removed.

    The end of a sync leaves them like this. A dry run needs it because it writes no pages.
    """
    prepared.execute(connection, _settle(), {})
    if with_gone:
        prepared.execute(connection, _settle_gone(), {})


# Only projects with work are updated: to update all would rewrite the whole catalog.


@statement
def _settle() -> sql.Update:
    columns = tables.projects.c
    offered = sql.update(tables.projects).where(
        columns.has_work.is_(True), columns.removal_cause.is_(None)
    )
    return offered.values(page_stale=False)


@statement
def _settle_gone() -> sql.Update:
    columns = tables.projects.c
    gone = sql.update(tables.projects).where(
        columns.has_work.is_(True), columns.removal_cause.is_not(None)
    )
    return gone.values(page_stale=False, page_on_disk=False)


def redo_all(connection: Connection) -> None:
    """Mark all projects with a page, so that all pages are rendered again."""
    prepared.execute(connection, _redo_all(), {})


@statement
def _redo_all() -> sql.Update:
    live = sql.update(tables.projects).where(tables.projects.c.page_on_disk.is_(True))
    return live.values(has_work=True, page_stale=True)


def fingerprint(connection: Connection) -> list[int]:
    """Return numbers that change whenever any page changes."""
    (found,) = prepared.rows(connection, _fingerprint(), {})
    return [int(number or 0) for number in found]


@statement
def _fingerprint() -> Any:
    columns, total = tables.projects.c, sql.func.sum
    query = sql.select(
        sql.func.count(),
        # Serials may be large, and many of them more than a sum can hold.
        total(columns.page_serial % _LARGE),
        total(columns.held_files),
        total(columns.held_bytes % _LARGE),
        total(columns.linked_files),
    )
    return query.where(columns.page_on_disk.is_(True))


def of_other_renderers(
    connection: Connection, version: int, limit: int, *, with_gone: bool
) -> list[int]:
    """Return ids of projects whose pages another renderer version wrote and that are not stale.

    With `with_gone`, removed projects are included.
    """
    values = {"version": version, "limit": limit}
    found = prepared.rows(connection, _of_other_renderers(with_gone=with_gone), values)
    return [row[0] for row in found]


@statement
def _of_other_renderers(*, with_gone: bool) -> sql.Select[Any]:
    columns = tables.projects.c
    query = sql.select(columns.id).where(*_others(), columns.page_stale.is_(False))
    return _next(query if with_gone else query.where(columns.removal_cause.is_(None)))


def number_of_other_renderers(connection: Connection, version: int) -> int:
    """Return how many pages another renderer version wrote."""
    values = {"version": version}
    return prepared.value(connection, _number_of_other_renderers(), values) or 0


@statement
def _number_of_other_renderers() -> sql.Select[Any]:
    return sql.select(sql.func.count()).select_from(tables.projects).where(*_others())


def _others() -> tuple[sql.ColumnElement[bool], ...]:
    columns = tables.projects.c
    is_other = columns.page_renderer.is_distinct_from(sql.bindparam("version"))
    return columns.page_on_disk.is_(True), is_other
