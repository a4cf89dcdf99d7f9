"""Queries on doubtful pages: pages with refused offers, or whose files had bad bytes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from pypimirror.catalog import bulk
from pypimirror.catalog.mapping import prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.prepared import among, statement
from pypimirror.catalog.queries.projects import UNREAD, chunks, forget_refusals
from pypimirror.catalog.states import State
from pypimirror.domain.model import Problem, ProjectName, Reason


def _with_refusals() -> sql.ColumnElement[bool]:
    """Return the condition that a project is offered and has refusals."""
    columns = tables.projects.c
    refused = sql.select(tables.refusals.c.project_id)
    return sql.and_(columns.id.in_(refused), columns.removal_cause.is_(None))


def _with_bad_files() -> sql.ColumnElement[bool]:
    """Return the condition that a project is offered and has files with bad bytes."""
    files, projects = tables.files, tables.projects
    bad = sql.select(files.c.id).where(
        files.c.project_id == projects.c.id,
        files.c.state == State.QUARANTINED,
        files.c.removal_cause.is_(None),
    )
    return sql.and_(bad.exists(), projects.c.removal_cause.is_(None))


def decide_again(connection: Connection) -> None:
    """Mark projects with refusals, so that they are decided again even if their pages are
    unchanged.
    """
    prepared.execute(connection, _decide_again(some=False), {})


def look_again(connection: Connection, ids: Collection[int]) -> None:
    """Mark the projects in `ids` that have refusals: the cause may be gone."""
    for chunk in chunks(ids):
        prepared.execute(connection, _decide_again(some=True), {"ids": chunk})


@statement
def _decide_again(*, some: bool) -> sql.Update:
    marked = sql.update(tables.projects).where(_with_refusals())
    marked = marked.where(among(tables.projects.c.id)) if some else marked
    return marked.values(needs_fetch=True, has_work=True, **UNREAD)


def look_at_refused(connection: Connection, before: float, now: float) -> None:
    """Mark projects with refusals whose pages were last fetched before a time."""
    prepared.execute(connection, _look_at_refused(), {"before": before, "now": now})


@statement
def _look_at_refused() -> sql.Update:
    columns = tables.projects.c
    asked = columns.checked_at
    is_long_ago = sql.or_(asked <= sql.bindparam("before"), asked > sql.bindparam("now"))
    is_due = sql.or_(asked.is_(None), is_long_ago)
    marked = sql.update(tables.projects).where(
        _with_refusals(), is_due, columns.needs_fetch.is_(False)
    )
    return marked.values(needs_fetch=True, has_work=True)


def look_at_bad(connection: Connection, names: Iterable[ProjectName] | None) -> None:
    """Mark projects with work to do that have files with bad bytes.

    With `names`, only these projects.
    """
    if names is None:
        prepared.execute(connection, _look_at_bad(named=False), {})
    else:
        for chunk in chunks(names):
            prepared.execute(connection, _look_at_bad(named=True), {"names": chunk})


@statement
def _look_at_bad(*, named: bool) -> sql.Update:
    columns = tables.projects.c
    marked = sql.update(tables.projects).where(columns.has_work.is_(True), _with_bad_files())
    marked = marked.where(among(columns.name, "names")) if named else marked
    return marked.values(needs_fetch=True)


def doubtful(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Return the `ids` of projects that have refusals or files with bad bytes."""
    return {row[0] for row in prepared.rows(connection, _doubtful(), {"ids": ids})}


@statement
def _doubtful() -> sql.Select[Any]:
    is_doubtful = sql.or_(_with_refusals(), _with_bad_files())
    return sql.select(tables.projects.c.id).where(among(tables.projects.c.id), is_doubtful)


def set_refusals(connection: Connection, refused: Mapping[int, Sequence[Problem]]) -> None:
    """Replace the refusals of each of these projects."""
    forget_refusals(connection, refused)
    add_refusals(connection, ((i, problem) for i, found in refused.items() for problem in found))


def add_refusals(connection: Connection, refused: Iterable[tuple[int, Problem]]) -> None:
    """Add refusals of projects to those that exist."""
    rows = [
        {
            "project_id": project_id,
            "file": problem.file,
            "reason": problem.reason.value,
            "message": problem.message,
            "url": problem.url,
        }
        for project_id, problem in refused
    ]
    bulk.insert_rows(connection, "refusals", rows)


def standing_refusals(connection: Connection, names: Sequence[ProjectName] | None) -> list[Problem]:
    """Return the refusals of all projects, or of those in `names`."""
    values = {} if names is None else {"names": names}
    rows = prepared.rows(connection, _standing(named=names is not None), values)
    return [Problem(Reason(reason), *rest) for reason, *rest in rows]


@statement
def _standing(*, named: bool) -> sql.Select[Any]:
    columns, projects = tables.refusals.c, tables.projects
    query = (
        sql.select(columns.reason, columns.message, projects.c.name, columns.file, columns.url)
        .join(projects, projects.c.id == columns.project_id)
        .order_by(columns.id)
    )
    return query.where(among(projects.c.name, "names")) if named else query
