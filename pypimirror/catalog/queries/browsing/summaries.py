"""Summaries and requirements of projects. Written together with pages; read by pages and search.

A project has a row as soon as its page was written. `source` is the digest of the core metadata
or sdist that the row was made from, so that nothing is read twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    Connection,
    Delete,
    Integer,
    Select,
    bindparam,
    delete,
    literal_column,
    or_,
    select,
)

from pypimirror.catalog import bulk
from pypimirror.catalog.mapping import mapper, prepared
from pypimirror.catalog.mapping.prepared import among, statement
from pypimirror.catalog.queries.projects import chunks
from pypimirror.catalog.records import FileRecord, ProjectKey, SummaryRecord
from pypimirror.catalog.schema import dependents as dependents_of
from pypimirror.catalog.schema import files, projects, summaries
from pypimirror.catalog.states import PROVEN


class Noted(NamedTuple):
    """New notes on projects."""

    rows: Sequence[SummaryRecord]
    required: Mapping[int, frozenset[str]]  #: names of required projects, by project id


def sources(connection: Connection, ids: Sequence[int]) -> dict[int, bytes | None]:
    """Return the digests of the sources of these projects' rows, by project id."""
    return {row[0]: row[1] for row in prepared.rows(connection, _sources(), {"ids": ids})}


@statement
def _sources() -> Select[Any]:
    query = select(summaries.c.project_id, summaries.c.source)
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
def _drop() -> Delete:
    return delete(summaries).where(among(summaries.c.project_id))


@statement
def _drop_dependents() -> Delete:
    return delete(dependents_of).where(among(dependents_of.c.project_id))


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
    """Return the files of these projects that may have a summary: in core metadata, or in an
    sdist.
    """
    query = select(files).where(
        files.c.project_id.in_(ids),
        files.c.state.in_(list(PROVEN)),
        or_(files.c.metadata_sha256.is_not(None), files.c.filename.not_like("%.whl")),
    )
    return list(mapper.read(connection, query, FileRecord))


def dependents(connection: Connection, project: str, limit: int) -> list[str]:
    """Return the names of projects on this mirror whose newest release requires `project`."""
    is_postgresql = connection.dialect.name == "postgresql"
    if is_postgresql:
        # For a project that many require, its plan would first collect all their rows.
        connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
    rows = prepared.rows(connection, _dependents(limit), {"project": project})
    found = sorted(row[0] for row in rows)
    if is_postgresql:
        connection.exec_driver_sql("SET LOCAL enable_bitmapscan TO DEFAULT")
    return found


@statement
def _dependents(limit: int) -> Select[Any]:
    return (  # with a parameter as its limit, PostgreSQL plans for many rows
        select(projects.c.name)
        .join(dependents_of, dependents_of.c.project_id == projects.c.id)
        .where(dependents_of.c.required == bindparam("project"), projects.c.page_on_disk.is_(True))
        .limit(literal_column(str(limit), Integer))
    )
