"""Queries on pages that say something which is refused, or which bytes did not prove to be so."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import ColumnElement, Connection, and_, or_, select, update

from pypimirror.catalog.queries.projects import UNREAD, chunks
from pypimirror.catalog.schema import files, projects, refusals
from pypimirror.catalog.states import State
from pypimirror.domain.model import ProjectName


def _with_refusals() -> ColumnElement[bool]:
    """Return the condition that a page is offered of which something is refused."""
    refused = select(refusals.c.project_id)
    return and_(projects.c.id.in_(refused), projects.c.removal_cause.is_(None))


def _with_bad_files() -> ColumnElement[bool]:
    """Return the condition that bytes of a project did not prove to be what its page claims."""
    bad = select(files.c.id).where(
        files.c.project_id == projects.c.id,
        files.c.state == State.QUARANTINED,
        files.c.removal_cause.is_(None),
    )
    return and_(bad.exists(), projects.c.removal_cause.is_(None))


def decide_again(connection: Connection) -> None:
    """Mark projects of which something is refused, to be decided on whatever their pages say."""
    marked = update(projects).where(_with_refusals())
    connection.execute(marked.values(needs_fetch=True, has_work=True, **UNREAD))


def look_at_refused(connection: Connection, before: float, now: float) -> None:
    """Mark projects of which something is refused, and that were asked for before a time."""
    asked = projects.c.checked_at
    is_due = or_(asked.is_(None), asked <= before, asked > now)
    marked = update(projects).where(_with_refusals(), is_due, projects.c.needs_fetch.is_(False))
    connection.execute(marked.values(needs_fetch=True, has_work=True))


def look_again(connection: Connection, ids: Collection[int]) -> None:
    """Mark those of some projects of which something is refused: the cause may be over."""
    for chunk in chunks(ids):
        marked = update(projects).where(projects.c.id.in_(chunk), _with_refusals())
        connection.execute(marked.values(needs_fetch=True, has_work=True, **UNREAD))


def look_at_bad(connection: Connection, names: Iterable[ProjectName] | None) -> None:
    """Mark projects with work to do of which bytes did not prove to be what the page claims.

    Without `names`, any of them.
    """
    marked = update(projects).where(projects.c.has_work.is_(True), _with_bad_files())
    if names is None:
        connection.execute(marked.values(needs_fetch=True))
    else:
        for chunk in chunks(names):
            connection.execute(marked.where(projects.c.name.in_(chunk)).values(needs_fetch=True))


def doubtful(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Return those of some projects whose pages say something that is refused, or proved wrong."""
    found = select(projects.c.id).where(
        projects.c.id.in_(ids), or_(_with_refusals(), _with_bad_files())
    )
    return set(connection.scalars(found))
