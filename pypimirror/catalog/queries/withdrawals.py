"""Queries on files that leave: no longer offered, then withdrawn, finally without bytes here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from pypimirror.catalog.mapping import mapper, prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.prepared import among, statement
from pypimirror.catalog.queries.closure import closed
from pypimirror.catalog.queries.files import is_listed, with_project
from pypimirror.catalog.queries.projects import (
    CHUNK,
    UNREAD,
    chunks,
    files_gone,
    is_in,
    is_withheld,
)
from pypimirror.catalog.records import LeavingFile, ProjectFile
from pypimirror.catalog.states import PROVEN, Cause

#: Causes that lie with the upstream. The deletion guard counts them.
LOSSES = frozenset({Cause.UPSTREAM, Cause.CLAIMS, Cause.KEPT, Cause.DROPPED})


def set_gone(connection: Connection, ids: Iterable[int], cause: Cause | None) -> None:
    """Mark files as no longer offered; without a cause, as offered again."""
    gone = _offer_again() if cause is None else _set_gone(cause)
    for chunk in chunks(ids):
        closed.open_again(connection)
        prepared.execute(connection, gone, {"ids": chunk})


@statement
def _offer_again() -> sql.Update:
    return sql.update(tables.files).where(among(tables.files.c.id)).values(removal_cause=None)


@statement
def _set_gone(cause: Cause) -> sql.Update:
    gone = sql.update(tables.files).where(among(tables.files.c.id))
    return gone.values(removal_cause=files_gone(cause))


def deselect(connection: Connection, ids: Iterable[int]) -> None:
    """Mark files as no longer offered, because neither configuration nor clients ask for them."""
    for chunk in chunks(ids):
        closed.open_again(connection)
        prepared.execute(connection, _deselect(), {"ids": chunk})


@statement
def _deselect() -> sql.Update:
    files = tables.files
    gone = sql.update(files).where(among(files.c.id), files.c.removal_cause.is_(None))
    return gone.values(removal_cause=Cause.SELECTION)


def keep_back(connection: Connection, ids: Sequence[int] | None = None) -> None:
    """Keep the files on pages that are about to leave because the upstream deleted them.

    Of all projects, or of these.
    """
    if ids is None:
        prepared.execute(connection, _keep_back(of_some=False), {})
        return
    for chunk in chunks(ids):
        prepared.execute(connection, _keep_back(of_some=True), {"ids": chunk})


@statement
def _keep_back(*, of_some: bool) -> sql.Update:
    files = tables.files
    kept = sql.update(files).where(
        tables.IS_LEAVING, files.c.removal_cause == Cause.UPSTREAM, is_in(PROVEN)
    )
    if of_some:
        kept = kept.where(among(files.c.project_id))
    return kept.values(removal_cause=Cause.KEPT)


def mark_kept(connection: Connection, ids: Sequence[int], now: float) -> None:
    """Note that files and their projects stay although the upstream deleted them."""
    for chunk in chunks(ids):
        for kept in (_mark_kept(), _mark_projects_kept()):
            prepared.execute(connection, kept, {"ids": chunk, "now": now})


@statement
def _mark_kept() -> sql.Update:
    # The upstream no longer has the file, so a page cannot link to it there.
    kept = sql.update(tables.files).where(among(tables.files.c.id))
    return kept.values(removal_cause=None, kept=sql.bindparam("now"), linked=None)


@statement
def _mark_projects_kept() -> sql.Update:
    files, projects = tables.files, tables.projects
    theirs = projects.c.id.in_(sql.select(files.c.project_id).where(among(files.c.id)))
    stays = sql.update(projects).where(theirs, projects.c.removal_cause == Cause.UPSTREAM)
    return stays.values(removal_cause=None, kept=sql.bindparam("now"))


def look_at_kept(connection: Connection) -> None:
    """Mark the projects of kept files, so that they are decided again even if pages are
    unchanged.
    """
    prepared.execute(connection, _look_at_kept(), {})


@statement
def _look_at_kept() -> sql.Update:
    files, projects = tables.files, tables.projects
    kept = projects.c.id.in_(sql.select(files.c.project_id).where(files.c.kept.is_not(None)))
    marked = sql.update(projects).where(kept, projects.c.removal_cause.is_(None))
    return marked.values(needs_fetch=True, has_work=True, **UNREAD)


def count_kept(connection: Connection) -> tuple[int, int]:
    """Return the number of files that are kept although deleted upstream, and of their projects."""
    ((number, project_number),) = prepared.rows(connection, _count_kept(), {})
    return number, project_number


@statement
def _count_kept() -> sql.Select[Any]:
    files = tables.files
    numbers: list[Any] = [sql.func.count(), sql.func.count(files.c.project_id.distinct())]
    return sql.select(*numbers).where(files.c.kept.is_not(None))


def is_any(connection: Connection) -> bool:
    """Whether any file is no longer offered, withdrawn or not."""
    return bool(prepared.value(connection, _is_any(), {}))


@statement
def _is_any() -> sql.Select[Any]:
    conditions = (tables.IS_LEAVING, tables.IS_WITHDRAWN)
    some = (sql.select(tables.files.c.id).where(those).exists() for those in conditions)
    return sql.select(sql.or_(*some))


def first_withdrawn(connection: Connection) -> float | None:
    """Return when the first file was withdrawn whose bytes are still here; None: there is none."""
    first: float | None = prepared.value(connection, _first_withdrawn(), {})
    return first


@statement
def _first_withdrawn() -> sql.Select[Any]:
    withdrawn_at = tables.files.c.withdrawn_at
    return sql.select(sql.func.min(withdrawn_at)).where(withdrawn_at.is_not(None))


def next_leaving(connection: Connection, after: int = 0) -> list[LeavingFile]:
    """Return the next files, after id `after`, that are no longer offered and not yet withdrawn."""
    return list(
        mapper.stream(connection, _next_leaving(), LeavingFile, {"after": after, "limit": CHUNK})
    )


@statement
def _next_leaving() -> sql.Select[Any]:
    files, projects = tables.files, tables.projects
    return (
        mapper.select_record(LeavingFile, files, project=projects.c.name)
        .join_from(files, projects)
        .where(tables.IS_LEAVING, files.c.id > sql.bindparam("after"))
        .order_by(files.c.id)
        .limit(sql.bindparam("limit", type_=sql.Integer))
    )


def dropped(connection: Connection, causes: Collection[Cause]) -> Iterator[tuple[str, int]]:
    """Stream the projects that lose files by these causes, with the number of files.

    Files on pages count, and files that left their pages because the upstream withheld them.
    """
    query = _dropped(with_withheld=Cause.DROPPED in causes)
    values = {"causes": [cause.value for cause in causes]}
    yield from ((row[0], row[1]) for row in prepared.stream(connection, query, values))


@statement
def _dropped(*, with_withheld: bool) -> sql.Select[Any]:
    files, projects = tables.files, tables.projects
    columns = sql.select(files.c.id, files.c.project_id)
    # Two queries, each with its own index: only few files match.
    lost: Any = columns.where(
        tables.IS_LEAVING, among(files.c.removal_cause, "causes"), is_listed()
    )
    if with_withheld:
        is_dropped = files.c.removal_cause == Cause.DROPPED
        lost = sql.union_all(lost, columns.where(tables.IS_WITHDRAWN, is_dropped))
    lost = lost.subquery()
    return (
        sql.select(projects.c.name, sql.func.count())
        .join_from(lost, projects, projects.c.id == lost.c.project_id)
        .group_by(projects.c.id, projects.c.name)
        .order_by(projects.c.id)
    )


def count_withheld(connection: Connection) -> int:
    """Return the number of held files that the upstream withholds, or withheld and then dropped."""
    return int(prepared.value(connection, _count_withheld(), {}))


@statement
def _count_withheld() -> sql.Select[Any]:
    return sql.select(sql.func.count()).where(tables.IS_WITHDRAWN, is_withheld())


def let_go(connection: Connection, now: float) -> None:
    """Begin the grace period of files that were withheld and are no longer offered."""
    prepared.execute(connection, _let_go(), {"now": now})


@statement
def _let_go() -> sql.Update:
    files = tables.files
    gone = sql.update(files).where(tables.IS_WITHDRAWN, files.c.removal_cause == Cause.DROPPED)
    return gone.values(removal_cause=Cause.UPSTREAM, withdrawn_at=sql.bindparam("now"))


def any_stays(connection: Connection) -> bool:
    """Whether any file that is on a page, or soon will be, stays."""
    return prepared.value(connection, _any_stays(), {}) is not None


@statement
def _any_stays() -> sql.Select[Any]:
    files = tables.files
    query = sql.select(files.c.id).where(is_listed(), files.c.removal_cause.is_(None))
    return query.limit(1)


def projects_with_leaving(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Return the ids of the projects that have files on their pages that are no longer offered."""
    return {row[0] for row in prepared.rows(connection, _with_leaving(), {"ids": ids})}


@statement
def _with_leaving() -> sql.Select[Any]:
    theirs = tables.files.c.project_id
    return sql.select(theirs).where(among(theirs), tables.IS_LEAVING, is_listed())


def forget(connection: Connection, ids: Iterable[int]) -> None:
    """Delete the rows of files of which nothing was ever held."""
    for chunk in chunks(ids):
        prepared.execute(connection, _forget(), {"ids": chunk})


@statement
def _forget() -> sql.Delete:
    return sql.delete(tables.files).where(among(tables.files.c.id))


def next_expired(
    connection: Connection, before: float, after: tuple[float, int] = (0.0, 0)
) -> list[ProjectFile]:
    """Return the next files that were withdrawn before a time and whose bytes are still here.

    Files that a page on disk may still link to are left out. They are sorted by withdrawal time and
    id, and come after the pair in `after`.
    """
    withdrawn_at, file_id = after
    values = {"before": before, "withdrawn_at": withdrawn_at, "file_id": file_id, "limit": CHUNK}
    return list(mapper.stream(connection, _next_expired(), ProjectFile, values))


@statement
def _next_expired() -> sql.Select[Any]:
    columns, projects = tables.files.c, tables.projects
    last = sql.bindparam("withdrawn_at", type_=sql.Float)
    query = with_project().where(
        columns.withdrawn_at.is_not(None),
        columns.withdrawn_at <= sql.bindparam("before"),
        columns.withdrawn_at >= last,
        sql.or_(columns.withdrawn_at > last, columns.id > sql.bindparam("file_id")),
        sql.or_(columns.removal_cause.is_(None), ~is_withheld()),
        projects.c.page_stale.is_(False),
        sql.or_(projects.c.removal_cause.is_(None), projects.c.page_on_disk.is_(False)),
    )
    return query.order_by(columns.withdrawn_at, columns.id).limit(
        sql.bindparam("limit", type_=sql.Integer)
    )
