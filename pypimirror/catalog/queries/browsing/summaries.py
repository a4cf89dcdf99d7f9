"""Summaries and requirements of projects. Written together with pages; read by pages and search.

A project has a row as soon as its page was written. `source` is the digest of the core metadata
or sdist that the row was made from, so that nothing is read twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from pypimirror.catalog import bulk
from pypimirror.catalog.mapping import mapper, prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.prepared import among, statement
from pypimirror.catalog.queries.projects import chunks, is_in
from pypimirror.catalog.records import FileRecord, ProjectKey, SummaryRecord
from pypimirror.catalog.states import PROVEN


class Noted(NamedTuple):
    """New notes on projects."""

    rows: Sequence[SummaryRecord]
    required: Mapping[int, frozenset[str]]  #: names of required projects, by project id


def sources(connection: Connection, ids: Sequence[int]) -> dict[int, bytes | None]:
    """Return the digests of the sources of these projects' rows, by project id."""
    return {row[0]: row[1] for row in prepared.rows(connection, _sources(), {"ids": ids})}


@statement
def _sources() -> sql.Select[Any]:
    summaries = tables.summaries
    query = sql.select(summaries.c.project_id, summaries.c.source)
    return query.where(among(summaries.c.project_id))


def put(connection: Connection, found: Noted) -> None:
    """Replace the summaries of projects."""
    drop(connection, [row.project_id for row in found.rows])
    rows = [msgspec.structs.asdict(row) for row in found.rows]
    bulk.insert_together(connection, "summaries", rows)
    edges = [
        {"project_id": number, "required": name}
        for number, names in found.required.items()
        for name in sorted(names)
    ]
    bulk.insert_rows(connection, "dependents", edges)


def drop(connection: Connection, ids: Sequence[int]) -> None:
    """Remove the rows of projects."""
    for chunk in chunks(ids):
        prepared.execute(connection, _drop(), {"ids": chunk})
        prepared.execute(connection, _drop_dependents(), {"ids": chunk})


@statement
def _drop() -> sql.Delete:
    return sql.delete(tables.summaries).where(among(tables.summaries.c.project_id))


@statement
def _drop_dependents() -> sql.Delete:
    return sql.delete(tables.dependents).where(among(tables.dependents.c.project_id))


def missing(connection: Connection, after: int, limit: int) -> list[ProjectKey]:
    """Return projects with a page and without a row, by id."""
    return mapper.read_all(connection, _missing(), ProjectKey, {"after": after, "limit": limit})


@statement
def _missing() -> sql.Select[Any]:
    projects, summaries = tables.projects, tables.summaries
    return (
        mapper.select_record(ProjectKey, projects)
        .outerjoin(summaries, summaries.c.project_id == projects.c.id)
        .where(
            projects.c.page_on_disk.is_(True),
            summaries.c.project_id.is_(None),
            projects.c.id > sql.bindparam("after"),
        )
        .order_by(projects.c.id)
        .limit(sql.bindparam("limit", type_=sql.Integer))
    )


def described(connection: Connection, ids: Sequence[int]) -> list[FileRecord]:
    """Return the files of these projects that may have a summary: in core metadata, or in an
    sdist.
    """
    return mapper.read_all(connection, _described(), FileRecord, {"ids": ids})


@statement
def _described() -> sql.Select[Any]:
    files = tables.files
    has_metadata = files.c.metadata_sha256.is_not(None)
    return sql.select(files).where(
        among(files.c.project_id),
        is_in(PROVEN),
        sql.or_(has_metadata, files.c.filename.not_like("%.whl")),
    )


#: Most names that `dependents` returns.
MOST_DEPENDENTS = 101


def dependents(connection: Connection, project: str) -> list[str]:
    """Return names of projects on this mirror whose newest release requires `project`."""
    is_postgresql = connection.dialect.name == "postgresql"
    if is_postgresql:
        # For a project that many require, its plan would first collect all their rows.
        connection.run("SET LOCAL enable_bitmapscan = off")
    rows = prepared.rows(connection, _dependents(), {"project": project})
    found = sorted(row[0] for row in rows)
    if is_postgresql:
        connection.run("SET LOCAL enable_bitmapscan TO DEFAULT")
    return found


@statement
def _dependents() -> sql.Select[Any]:
    projects, dependents = tables.projects, tables.dependents
    requires = dependents.c.required == sql.bindparam("project")
    return (  # with a parameter as its limit, PostgreSQL plans for many rows
        sql.select(projects.c.name)
        .join(dependents, dependents.c.project_id == projects.c.id)
        .where(requires, projects.c.page_on_disk.is_(True))
        .limit(sql.literal_column(str(MOST_DEPENDENTS), sql.Integer))
    )
