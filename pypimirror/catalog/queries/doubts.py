"""Queries on doubtful pages: pages with refused offers, or whose files had bad bytes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    Select,
    and_,
    delete,
    insert,
    or_,
    select,
    update,
)

from pypimirror.catalog.mapping import prepared
from pypimirror.catalog.mapping.prepared import among, statement
from pypimirror.catalog.queries.projects import UNREAD, chunks
from pypimirror.catalog.schema import files, projects, refusals
from pypimirror.catalog.states import State
from pypimirror.domain.model import Problem, ProjectName, Reason


def _with_refusals() -> ColumnElement[bool]:
    """Return the condition that a project is offered and has refusals."""
    refused = select(refusals.c.project_id)
    return and_(projects.c.id.in_(refused), projects.c.removal_cause.is_(None))


def _with_bad_files() -> ColumnElement[bool]:
    """Return the condition that a project is offered and has files with bad bytes."""
    bad = select(files.c.id).where(
        files.c.project_id == projects.c.id,
        files.c.state == State.QUARANTINED,
        files.c.removal_cause.is_(None),
    )
    return and_(bad.exists(), projects.c.removal_cause.is_(None))


def decide_again(connection: Connection) -> None:
    """Mark projects with refusals, so that they are decided again even if their pages are
    unchanged.
    """
    marked = update(projects).where(_with_refusals())
    connection.execute(marked.values(needs_fetch=True, has_work=True, **UNREAD))


def look_at_refused(connection: Connection, before: float, now: float) -> None:
    """Mark projects with refusals whose pages were last fetched before a time."""
    asked = projects.c.checked_at
    is_due = or_(asked.is_(None), asked <= before, asked > now)
    marked = update(projects).where(_with_refusals(), is_due, projects.c.needs_fetch.is_(False))
    connection.execute(marked.values(needs_fetch=True, has_work=True))


def look_again(connection: Connection, ids: Collection[int]) -> None:
    """Mark the projects in `ids` that have refusals: the cause may be gone."""
    for chunk in chunks(ids):
        marked = update(projects).where(projects.c.id.in_(chunk), _with_refusals())
        connection.execute(marked.values(needs_fetch=True, has_work=True, **UNREAD))


def look_at_bad(connection: Connection, names: Iterable[ProjectName] | None) -> None:
    """Mark projects with work to do that have files with bad bytes.

    With `names`, only these projects.
    """
    marked = update(projects).where(projects.c.has_work.is_(True), _with_bad_files())
    if names is None:
        connection.execute(marked.values(needs_fetch=True))
    else:
        for chunk in chunks(names):
            connection.execute(marked.where(projects.c.name.in_(chunk)).values(needs_fetch=True))


def doubtful(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Return the `ids` of projects that have refusals or files with bad bytes."""
    return {row[0] for row in prepared.rows(connection, _doubtful(), {"ids": ids})}


@statement
def _doubtful() -> Select[Any]:
    is_doubtful = or_(_with_refusals(), _with_bad_files())
    return select(projects.c.id).where(among(projects.c.id), is_doubtful)


def set_refusals(connection: Connection, refused: Mapping[int, Sequence[Problem]]) -> None:
    """Replace the refusals of each of these projects."""
    prepared.execute(connection, _forget_refusals(), {"ids": refused})
    add_refusals(connection, ((i, problem) for i, found in refused.items() for problem in found))


@statement
def _forget_refusals() -> Delete:
    return delete(refusals).where(among(refusals.c.project_id))


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
    if rows:
        connection.execute(insert(refusals), rows)


def standing_refusals(connection: Connection, names: Sequence[ProjectName] | None) -> list[Problem]:
    """Return the refusals of all projects, or of those in `names`."""
    values = {} if names is None else {"names": names}
    rows = prepared.rows(connection, _standing(named=names is not None), values)
    return [Problem(Reason(reason), *rest) for reason, *rest in rows]


@statement
def _standing(*, named: bool) -> Select[Any]:
    columns = refusals.c
    query = (
        select(columns.reason, columns.message, projects.c.name, columns.file, columns.url)
        .join(projects, projects.c.id == columns.project_id)
        .order_by(columns.id)
    )
    return query.where(among(projects.c.name, "names")) if named else query
