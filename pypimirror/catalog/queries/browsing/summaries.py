"""Summaries of projects, and who requires whom: written when pages are, read by pages and search.

A project has a row as soon as its page was written. `source` is the digest of the core metadata
or sdist that the row was made from, so that nothing is read twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, delete, insert, or_, select

from pypimirror.catalog.mapping import mapper
from pypimirror.catalog.queries.projects import CHUNK, chunks
from pypimirror.catalog.records import FileRecord, ProjectKey, SummaryRecord
from pypimirror.catalog.schema import dependents as dependents_of
from pypimirror.catalog.schema import files, projects, summaries
from pypimirror.catalog.states import PROVEN


def sources(connection: Connection, ids: Sequence[int]) -> dict[int, bytes | None]:
    """Return what the rows of these projects were made from, by project id."""
    query = select(summaries.c.project_id, summaries.c.source)
    found = connection.execute(query.where(summaries.c.project_id.in_(ids)))
    return {row.project_id: row.source for row in found}


def put(
    connection: Connection,
    rows: Iterable[SummaryRecord],
    required: Mapping[int, Iterable[str]],
) -> None:
    """Replace the rows of projects. `required` has the names of what each requires."""
    for chunk in chunks(rows, 1000):
        drop(connection, [row.project_id for row in chunk])
        connection.execute(
            insert(summaries),
            [{field: getattr(row, field) for field in row.__struct_fields__} for row in chunk],
        )
        edges = [
            {"project_id": row.project_id, "required": name}
            for row in chunk
            for name in sorted(set(required.get(row.project_id, ())))
        ]
        if edges:
            connection.execute(insert(dependents_of), edges)


def drop(connection: Connection, ids: Sequence[int]) -> None:
    """Remove the rows of projects."""
    for chunk in chunks(ids):
        connection.execute(delete(summaries).where(summaries.c.project_id.in_(chunk)))
        connection.execute(delete(dependents_of).where(dependents_of.c.project_id.in_(chunk)))


def missing(connection: Connection, after: int, limit: int) -> list[ProjectKey]:
    """Return projects with a page and without a row, by id."""
    columns = projects.c
    query = (
        select(columns.id, columns.name, columns.removal_cause)
        .outerjoin(summaries, summaries.c.project_id == columns.id)
        .where(columns.page_on_disk.is_(True), summaries.c.project_id.is_(None), columns.id > after)
        .order_by(columns.id)
        .limit(limit)
    )
    return list(mapper.read(connection, query, ProjectKey))


def described(connection: Connection, ids: Sequence[int]) -> list[FileRecord]:
    """Return the files of these projects that may say something: by core metadata, or as sdists."""
    query = select(files).where(
        files.c.project_id.in_(ids),
        files.c.state.in_(list(PROVEN)),
        or_(files.c.metadata_sha256.is_not(None), files.c.filename.not_like("%.whl")),
    )
    return list(mapper.read(connection, query, FileRecord))


def dependents(connection: Connection, project: str, limit: int) -> list[str]:
    """Return the names of projects on this mirror whose newest release requires `project`."""
    assert limit <= CHUNK
    query = (
        select(projects.c.name)
        .join(dependents_of, dependents_of.c.project_id == projects.c.id)
        .where(dependents_of.c.required == project, projects.c.page_on_disk.is_(True))
        .limit(limit)
    )
    return sorted(connection.scalars(query))
