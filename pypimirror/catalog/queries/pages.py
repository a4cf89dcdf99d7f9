"""Queries on pages as they are on disk: all, those to remove, those to render again."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, func, or_, select, update

from pypimirror.catalog.mapping import mapper
from pypimirror.catalog.queries.projects import CHUNK
from pypimirror.catalog.records import ProjectRecord
from pypimirror.catalog.schema import projects

_LARGE = 2**31 - 1  #: a prime


def live_after(connection: Connection, after: int, limit: int) -> list[ProjectRecord]:
    """Return projects with a page, in the order of their ids, after id `after`."""
    query = select(projects).where(projects.c.page_on_disk.is_(True), projects.c.id > after)
    query = query.order_by(projects.c.id).limit(limit)
    return list(mapper.read(connection, query, ProjectRecord))


def to_remove(connection: Connection, after: int = 0) -> list[ProjectRecord]:
    """Return the next removed projects, after id `after`, whose pages may still be on disk.

    If a page is stale, a run that died may have written it without noting it.
    """
    query = select(projects).where(
        projects.c.has_work.is_(True),
        or_(projects.c.page_on_disk.is_(True), projects.c.page_stale.is_(True)),
        projects.c.removal_cause.is_not(None),
        projects.c.id > after,
    )
    query = query.order_by(projects.c.id).limit(CHUNK)
    return list(mapper.read(connection, query, ProjectRecord))


def settle(connection: Connection, *, with_gone: bool) -> None:
    """Treat all pages as written, and with `with_gone`, those of removed projects as removed.

    The end of a sync leaves them like this. A dry run needs it because it writes no pages.
    """
    # Update only projects with work: updating all would rewrite the whole catalog.
    open_ones = update(projects).where(projects.c.has_work.is_(True))
    offered = projects.c.removal_cause.is_(None)
    connection.execute(open_ones.where(offered).values(page_stale=False))
    if with_gone:
        connection.execute(open_ones.where(~offered).values(page_stale=False, page_on_disk=False))


def redo_all(connection: Connection) -> None:
    """Mark all projects with a page, so that all pages are rendered again."""
    live = update(projects).where(projects.c.page_on_disk.is_(True))
    connection.execute(live.values(has_work=True, page_stale=True))


def fingerprint(connection: Connection) -> list[int]:
    """Return numbers that change whenever any page changes."""
    columns = projects.c
    query = select(
        func.count(),
        # Serials may be large, and many of them more than a sum can hold.
        func.sum(columns.page_serial % _LARGE),
        func.sum(columns.held_files),
        func.sum(columns.held_bytes % _LARGE),
        func.sum(columns.linked_files),
    )
    found = connection.execute(query.where(columns.page_on_disk.is_(True))).one()
    return [int(number or 0) for number in found]


def of_other_renderers(
    connection: Connection, version: int, limit: int, *, with_gone: bool
) -> list[int]:
    """Return ids of projects whose pages another renderer version wrote and that are not stale.

    With `with_gone`, removed projects are included.
    """
    columns = projects.c
    query = select(columns.id).where(*_others(version), columns.page_stale.is_(False))
    if not with_gone:
        query = query.where(columns.removal_cause.is_(None))
    return list(connection.scalars(query.order_by(columns.id).limit(limit)))


def number_of_other_renderers(connection: Connection, version: int) -> int:
    """Return how many pages another renderer version wrote."""
    query = select(func.count()).select_from(projects).where(*_others(version))
    return connection.scalar(query) or 0


def _others(version: int) -> tuple[ColumnElement[bool], ...]:
    columns = projects.c
    return columns.page_on_disk.is_(True), columns.page_renderer.is_distinct_from(version)
