"""Queries on files that must be fetched, and on those that wait for their next try."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pypimirror.catalog.mapping import mapper, prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.prepared import among, statement
from pypimirror.catalog.queries.files import with_project, with_projects
from pypimirror.catalog.queries.projects import is_due, is_in, lacks_provenance
from pypimirror.catalog.records import FileRecord, ProjectFile
from pypimirror.catalog.states import DUE, LONGEST_WAIT


def due(connection: Connection, ids: Sequence[int], now: float | None) -> list[ProjectFile]:
    """Return the files of these projects that must be fetched. With `now`, waiting files are left
    out.
    """
    return [row for row in with_projects(connection, ids) if is_due_at(row, now)]


def is_due_at(row: FileRecord, now: float | None) -> bool:
    """Whether a file must be fetched. With `now`, this is False while it waits for its next try."""
    must = row.state in DUE and row.removal_cause is None
    return must and (now is None or not _waits_at(row.next_try, now))


def _waits_at(next_try: float | None, now: float) -> bool:
    """Whether a row waits at this time: the opposite of `projects.is_due` in SQL."""
    return next_try is not None and now < next_try <= now + LONGEST_WAIT


def unattested(connection: Connection, ids: Sequence[int], now: float | None) -> list[ProjectFile]:
    """Return the files of these projects whose attestations must be fetched; see `due`."""
    found = mapper.read_all(connection, _unattested(), ProjectFile, {"ids": ids})
    return found if now is None else [row for row in found if not _waits_at(row.next_try, now)]


@statement
def _unattested() -> sql.Select[Any]:
    columns = tables.files.c
    query = with_project().where(
        among(columns.project_id), lacks_provenance(), columns.removal_cause.is_(None)
    )
    return query.order_by(columns.project_id, columns.filename)


def wake_unattested(connection: Connection) -> None:
    """Mark the projects of files whose attestations are missing."""
    prepared.execute(connection, _wake_unattested(), {})


@statement
def _wake_unattested() -> sql.Update:
    return _to_work(lacks_provenance())


def wake(connection: Connection, now: float | None) -> None:
    """Mark the projects of files whose next try is due; without `now`, of all waiting files."""
    prepared.execute(connection, _wake(only_due=now is not None), {"now": now})


@statement
def _wake(*, only_due: bool) -> sql.Update:
    waited = [tables.files.c.next_try.is_not(None), _is_missed()]
    if only_due:
        waited.append(is_due(sql.bindparam("now", type_=sql.Float)))
    return _to_work(*waited)


def _to_work(*conditions: sql.ColumnElement[bool]) -> sql.Update:
    """Return the statement that marks the projects of offered files with these conditions."""
    files, projects = tables.files, tables.projects
    theirs = sql.select(files.c.project_id).where(*conditions, files.c.removal_cause.is_(None))
    marked = sql.update(projects).where(projects.c.id.in_(theirs), projects.c.has_work.is_(False))
    return marked.values(has_work=True)


def _is_missed() -> sql.ColumnElement[bool]:
    """Return the condition that the bytes or the attestations of a file must be fetched."""
    return sql.or_(is_in(DUE), lacks_provenance())


def wait_no_more(connection: Connection) -> None:
    """Let the next run try every file again."""
    wake(connection, None)
    prepared.execute(connection, _wait_no_more(), {})


@statement
def _wait_no_more() -> sql.Update:
    files = tables.files
    return sql.update(files).where(files.c.next_try.is_not(None)).values(next_try=None)


def waiting(
    connection: Connection, now: float, names: Sequence[str] | None
) -> Iterator[ProjectFile]:
    """Stream the files whose next try is not due yet, of all projects or of `names`."""
    values = {"now": now, "names": names}
    return mapper.stream(connection, _waiting(is_named=names is not None), ProjectFile, values)


@statement
def _waiting(*, is_named: bool) -> sql.Select[Any]:
    columns = tables.files.c
    now = sql.bindparam("now", type_=sql.Float)
    query = with_project().where(
        columns.next_try > now,
        columns.next_try <= now + LONGEST_WAIT,
        _is_missed(),
        columns.removal_cause.is_(None),
    )
    if is_named:
        query = query.where(among(tables.projects.c.name, "names"))
    return query.order_by(columns.id)
