"""Queries on files that leave: no longer offered, then withdrawn, finally without bytes here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Select, delete, func, or_, select, union_all, update

from pypimirror.catalog.mapping import mapper, prepared
from pypimirror.catalog.mapping.prepared import among, statement
from pypimirror.catalog.queries.closure import closed
from pypimirror.catalog.queries.files import is_listed, with_project
from pypimirror.catalog.queries.projects import CHUNK, UNREAD, chunks, files_gone
from pypimirror.catalog.records import LeavingFile, ProjectFile
from pypimirror.catalog.schema import IS_LEAVING, IS_WITHDRAWN, files, projects
from pypimirror.catalog.states import PROVEN, Cause

#: Causes that lie with the upstream. The deletion guard counts them.
LOSSES = frozenset({Cause.UPSTREAM, Cause.CLAIMS, Cause.KEPT, Cause.DROPPED})
#: Causes for which bytes stay here, even after the grace period.
_WITHHELD = (Cause.QUARANTINE, Cause.DROPPED)


def set_gone(connection: Connection, ids: Iterable[int], cause: Cause | None) -> None:
    """Mark files as no longer offered; without a cause, as offered again."""
    for chunk in chunks(ids):
        closed.open_again(connection)
        gone = update(files).where(files.c.id.in_(chunk))
        connection.execute(gone.values(removal_cause=files_gone(cause)))


def deselect(connection: Connection, ids: Iterable[int]) -> None:
    """Mark files as no longer offered, because neither configuration nor clients ask for them."""
    for chunk in chunks(ids):
        closed.open_again(connection)
        gone = update(files).where(files.c.id.in_(chunk), files.c.removal_cause.is_(None))
        connection.execute(gone.values(removal_cause=Cause.SELECTION))


def keep_back(connection: Connection, ids: Sequence[int] | None = None) -> None:
    """Keep the files on pages that are about to leave because the upstream deleted them.

    Of all projects, or of these.
    """
    kept = update(files).where(
        IS_LEAVING, files.c.removal_cause == Cause.UPSTREAM, files.c.state.in_(list(PROVEN))
    )
    for chunk in [None] if ids is None else chunks(ids):
        some = kept if chunk is None else kept.where(files.c.project_id.in_(chunk))
        connection.execute(some.values(removal_cause=Cause.KEPT))


def mark_kept(connection: Connection, ids: Sequence[int], now: float) -> None:
    """Note that files and their projects stay although the upstream deleted them."""
    for chunk in chunks(ids):
        # The upstream no longer has the file, so a page cannot link to it there.
        values = {"removal_cause": None, "kept": now, "linked": None}
        connection.execute(update(files).where(files.c.id.in_(chunk)).values(values))
        theirs = projects.c.id.in_(select(files.c.project_id).where(files.c.id.in_(chunk)))
        stays = update(projects).where(theirs, projects.c.removal_cause == Cause.UPSTREAM)
        connection.execute(stays.values(removal_cause=None, kept=now))


def look_at_kept(connection: Connection) -> None:
    """Mark the projects of kept files, so that they are decided again even if pages are
    unchanged.
    """
    kept = select(files.c.project_id).where(files.c.kept.is_not(None))
    marked = update(projects).where(projects.c.id.in_(kept), projects.c.removal_cause.is_(None))
    connection.execute(marked.values(needs_fetch=True, has_work=True, **UNREAD))


def count_kept(connection: Connection) -> tuple[int, int]:
    """Return the number of files that are kept although deleted upstream, and of their projects."""
    query = select(func.count(), func.count(files.c.project_id.distinct()))
    number, project_number = connection.execute(query.where(files.c.kept.is_not(None))).one()
    return number, project_number


def is_any(connection: Connection) -> bool:
    """Whether any file is no longer offered, withdrawn or not."""
    some = (select(files.c.id).where(those).exists() for those in (IS_LEAVING, IS_WITHDRAWN))
    return bool(connection.scalar(select(or_(*some))))


def first_withdrawn(connection: Connection) -> float | None:
    """Return when the first file was withdrawn whose bytes are still here; None: there is none."""
    withdrawn_at = files.c.withdrawn_at
    first: float | None = connection.scalar(
        select(func.min(withdrawn_at)).where(withdrawn_at.is_not(None))
    )
    return first


def next_leaving(connection: Connection, after: int = 0) -> list[LeavingFile]:
    """Return the next files, after id `after`, that are no longer offered and not yet withdrawn."""
    query = (
        mapper.select_record(LeavingFile, files, project=projects.c.name)
        .join_from(files, projects)
        .where(IS_LEAVING, files.c.id > after)
        .order_by(files.c.id)
    )
    return list(mapper.read(connection, query.limit(CHUNK), LeavingFile))


def dropped(connection: Connection, causes: Collection[Cause]) -> Iterator[tuple[str, int]]:
    """Stream the projects that lose files by these causes, with the number of files.

    Files on pages count, and files that left their pages because the upstream withheld them.
    """
    columns = select(files.c.id, files.c.project_id)
    # Two queries, each with its own index: only few files match.
    left = columns.where(IS_LEAVING, files.c.removal_cause.in_(list(causes)), is_listed())
    if Cause.DROPPED in causes:
        withheld = columns.where(IS_WITHDRAWN, files.c.removal_cause == Cause.DROPPED)
        lost = union_all(left, withheld).subquery()
    else:
        lost = left.subquery()
    query = (
        select(projects.c.name, func.count())
        .join_from(lost, projects, projects.c.id == lost.c.project_id)
        .group_by(projects.c.id, projects.c.name)
        .order_by(projects.c.id)
    )
    found = connection.execute(query.execution_options(yield_per=CHUNK))
    yield from ((name, number) for name, number in found)


def count_withheld(connection: Connection) -> int:
    """Return the number of held files that the upstream withholds, or withheld and then dropped."""
    query = select(func.count()).where(IS_WITHDRAWN, files.c.removal_cause.in_(_WITHHELD))
    return connection.scalar(query) or 0


def let_go(connection: Connection, now: float) -> None:
    """Begin the grace period of files that were withheld and are no longer offered."""
    gone = update(files).where(IS_WITHDRAWN, files.c.removal_cause == Cause.DROPPED)
    connection.execute(gone.values(removal_cause=Cause.UPSTREAM, withdrawn_at=now))


def any_stays(connection: Connection) -> bool:
    """Whether any file that is on a page, or soon will be, stays."""
    query = select(files.c.id).where(is_listed(), files.c.removal_cause.is_(None))
    return connection.execute(query.limit(1)).first() is not None


def projects_with_leaving(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Return the ids of the projects that have files on their pages that are no longer offered."""
    return {row[0] for row in prepared.rows(connection, _with_leaving(), {"ids": ids})}


@statement
def _with_leaving() -> Select[Any]:
    return select(files.c.project_id).where(among(files.c.project_id), IS_LEAVING, is_listed())


def forget(connection: Connection, ids: Iterable[int]) -> None:
    """Delete the rows of files of which nothing was ever held."""
    for chunk in chunks(ids):
        connection.execute(delete(files).where(files.c.id.in_(chunk)))


def next_expired(
    connection: Connection, before: float, after: tuple[float, int] = (0.0, 0)
) -> list[ProjectFile]:
    """Return the next files that were withdrawn before a time and whose bytes are still here.

    Files that a page on disk may still link to are left out. They are sorted by withdrawal time and
    id, and come after the pair in `after`.
    """
    withdrawn_at, file_id = after
    columns = files.c
    query = (
        with_project()
        .where(
            columns.withdrawn_at.is_not(None),
            columns.withdrawn_at <= before,
            columns.withdrawn_at >= withdrawn_at,
            or_(columns.withdrawn_at > withdrawn_at, columns.id > file_id),
            or_(columns.removal_cause.is_(None), columns.removal_cause.not_in(_WITHHELD)),
            projects.c.page_stale.is_(False),
            or_(projects.c.removal_cause.is_(None), projects.c.page_on_disk.is_(False)),
        )
        .order_by(columns.withdrawn_at, columns.id)
    )
    return list(mapper.read(connection, query.limit(CHUNK), ProjectFile))
