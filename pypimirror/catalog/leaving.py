"""Queries on files that leave: not offered any more, withdrawn, and at last without bytes here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, func, or_, select, update

from pypimirror.catalog.files import is_listed
from pypimirror.catalog.projects import CHUNK, chunks
from pypimirror.catalog.rows import AnyRow
from pypimirror.catalog.schema import IS_LEAVING, files, projects
from pypimirror.catalog.states import Cause

#: Causes that are the upstream's doing, and that the deletion guard counts.
LOSSES = frozenset({Cause.UPSTREAM, Cause.CLAIMS})


def set_gone(connection: Connection, ids: Iterable[int], cause: Cause | None) -> None:
    """Mark files as not offered any more, or as offered again."""
    for chunk in chunks(ids):
        connection.execute(update(files).where(files.c.id.in_(chunk)).values(gone=cause))


def next_leaving(connection: Connection, after: int = 0) -> list[Row[Any]]:
    """Return files that are not offered any more and not yet withdrawn: the next behind an id."""
    query = (
        select(
            files.c.id,
            files.c.project_id,
            files.c.filename,
            files.c.state,
            files.c.gone,
            files.c.size,
            files.c.sha256,
            files.c.location,
            files.c.proof,
            files.c.linked,
            files.c.withdrawn_at,
            projects.c.name.label("project"),
        )
        .join(projects)
        .where(IS_LEAVING, files.c.id > after)
        .order_by(files.c.id)
    )
    return list(connection.execute(query.limit(CHUNK)))


def dropped(connection: Connection) -> Iterator[AnyRow]:
    """Stream the projects that lose files of pages by what the upstream says, with how many."""
    query = (
        select(projects.c.name, func.count())
        .join(projects)
        .where(IS_LEAVING, files.c.gone.in_(list(LOSSES)), is_listed())
        # Not by the files' own column: SQLite would then read all files in the order of its index.
        .group_by(projects.c.id, projects.c.name)
        .order_by(projects.c.id)
    )
    yield from connection.execute(query.execution_options(yield_per=CHUNK))


def projects_with_leaving(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Return which of these projects have files on their pages that are not offered any more."""
    query = select(files.c.project_id).where(files.c.project_id.in_(ids), IS_LEAVING, is_listed())
    return set(connection.scalars(query))


def forget(connection: Connection, ids: Iterable[int]) -> None:
    """Delete the rows of files of which nothing was ever held."""
    for chunk in chunks(ids):
        connection.execute(delete(files).where(files.c.id.in_(chunk)))


def next_expired(
    connection: Connection, before: float, after: tuple[float, int] = (0.0, 0)
) -> list[Row[Any]]:
    """Return files that were withdrawn before a time and whose bytes are still here: the next.

    Files that a page on disk may still link to are not among them. They come by the time when they
    were withdrawn, and by id, behind the pair of these that `after` names.
    """
    withdrawn_at, file_id = after
    columns = files.c
    query = (
        select(files, projects.c.name.label("project"))
        .join(projects)
        .where(
            columns.withdrawn_at.is_not(None),
            columns.withdrawn_at <= before,
            columns.withdrawn_at >= withdrawn_at,
            or_(columns.withdrawn_at > withdrawn_at, columns.id > file_id),
            columns.gone.is_distinct_from(Cause.QUARANTINE),
            projects.c.dirty.is_(False),
            or_(projects.c.gone.is_(None), projects.c.live.is_(False)),
        )
        .order_by(columns.withdrawn_at, columns.id)
    )
    return list(connection.execute(query.limit(CHUNK)))
