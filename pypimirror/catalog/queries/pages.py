"""Queries on pages that must be rendered again although nothing has changed upstream."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, func, select, update

from pypimirror.catalog.schema import projects

_LARGE = 2**31 - 1  #: a prime


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
