"""Queries on the files that clients have asked for.

A row is a file that is mirrored because a client asked for it, also if `[select]` selects it as
well. One worker at a time fetches a file, on any machine: it has its id in the row from `ask` until
`done` or `forget`, or until it does not work any more.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

from pypimirror.catalog.mapping import mapper, prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.inserts import insert_for, parameters
from pypimirror.catalog.mapping.prepared import Statement, among, statement
from pypimirror.catalog.queries.files import with_project
from pypimirror.catalog.queries.leases import clock
from pypimirror.catalog.queries.projects import is_in
from pypimirror.catalog.records import AskedRecord, ProjectFile
from pypimirror.catalog.states import PROVEN, REQUEST, WORKING, State

#: A project, normalised, and a file name.
Pair = tuple[str, str]


def ask(
    connection: Connection, pair: Pair, worker_id: int, at: float, size: int | None = None
) -> bool:
    """Note at the time `at` that a client asks for a file of `size` bytes, and let a worker fetch
    it. Its times stay if this worker fetches it already. Return False if another worker fetches it;
    then nothing is changed.
    """
    values = {
        "project": pair[0],
        "filename": pair[1],
        "size": size,
        "asked_at": at,
        "used_at": at,
        "worker_id": worker_id,
        "now": time.time(),
    }
    return bool(prepared.rows(connection, _ask(connection.dialect.name), values))


@statement
def _ask(dialect: str) -> sql.Insert:
    asked = tables.asked
    columns = ("project", "filename", "size", "asked_at", "used_at", "worker_id")
    asking = insert_for(dialect, asked).values(parameters(*columns))
    new = asking.excluded
    is_mine = asked.c.worker_id == new.worker_id
    found: sql.Insert = asking.on_conflict_do_update(
        index_elements=["project", "filename"],
        set_={
            "size": sql.func.coalesce(new.size, asked.c.size),
            "asked_at": sql.case((is_mine, asked.c.asked_at), else_=new.asked_at),
            "used_at": sql.case((is_mine, asked.c.used_at), else_=new.used_at),
            "worker_id": new.worker_id,
        },
        where=sql.or_(is_mine, _is_free(dialect)),
    ).returning(asked.c.worker_id)
    return found


def _is_free(dialect: str) -> sql.ColumnElement[bool]:
    """Return the condition that no worker that still works has a file."""
    worker = tables.asked.c.worker_id
    return sql.or_(worker.is_(None), worker.not_in(_at_work(dialect)))


def _at_work(dialect: str) -> sql.Select[tuple[int]]:
    # No correlated subquery: in the condition of an INSERT, SQLAlchemy would not correlate it.
    return sql.select(tables.workers.c.id).where(*_works(dialect))


def _works(dialect: str) -> tuple[sql.ColumnElement[bool], ...]:
    return (tables.workers.c.state == WORKING, tables.workers.c.expires_at > clock(dialect))


def under_way(connection: Connection, names: Iterable[str]) -> dict[Pair, float]:
    """Return the files of these projects that a worker fetches now, with the time of their request.

    A file that is asked for again after its fetch has ended has another time.
    """
    query, values = _under_way(connection.dialect.name), {"names": names, "now": time.time()}
    found = prepared.rows(connection, query, values)
    return {(project, filename): asked_at for project, filename, asked_at in found}


@statement
def _under_way(dialect: str) -> sql.Select[Any]:
    asked = tables.asked
    query = sql.select(asked.c.project, asked.c.filename, asked.c.asked_at)
    return query.where(among(asked.c.project, "names"), asked.c.worker_id.in_(_at_work(dialect)))


def in_a_run(connection: Connection, pair: Pair) -> tuple[int, int] | None:
    """Return the worker of a run that has the project of a file in hand, and the file's id.

    None: no run has it in hand, or the catalog has no such file.
    """
    values = {"project": pair[0], "filename": pair[1], "now": time.time()}
    found = prepared.rows(connection, _in_a_run(connection.dialect.name), values)
    return (found[0][0], found[0][1]) if found else None


@statement
def _in_a_run(dialect: str) -> sql.Select[tuple[int, int]]:
    files, projects, claims = tables.files, tables.projects, tables.claims
    workers = tables.workers
    return (
        sql.select(workers.c.id, files.c.id)
        .join_from(files, projects, files.c.project_id == projects.c.id)
        .join(claims, claims.c.project_id == projects.c.id)
        .join(workers, workers.c.id == claims.c.worker_id)
        .where(projects.c.name == sql.bindparam("project"))
        .where(files.c.filename == sql.bindparam("filename"))
        .where(claims.c.done.is_(False), workers.c.executor != REQUEST)
        .where(*_works(dialect))
    )


def left(connection: Connection, ids: Collection[int]) -> list[ProjectFile]:
    """Return the files with these ids, which a run has left to request workers."""
    return mapper.read_all(connection, _left(), ProjectFile, {"ids": ids})


@statement
def _left() -> sql.Select[Any]:
    return with_project().where(among(tables.files.c.id))


def fetched_by(connection: Connection, pair: Pair) -> int | None:
    """Return the worker that fetches a file, which may have died; None if nobody does."""
    found: int | None = prepared.value(connection, _fetched_by(), _key(pair))
    return found


@statement
def _fetched_by() -> sql.Select[Any]:
    return sql.select(tables.asked.c.worker_id).where(*_is_it())


def _is_it() -> tuple[sql.ColumnElement[bool], ...]:
    asked = tables.asked
    return (
        asked.c.project == sql.bindparam("its_project"),
        asked.c.filename == sql.bindparam("its_filename"),
    )


def _key(pair: Pair) -> dict[str, Any]:
    """Return the parameters of `_is_it`."""
    return {"its_project": pair[0], "its_filename": pair[1]}


def are_used_again(connection: Connection, pairs: Iterable[Pair]) -> bool:
    """Whether one of these files was used since its fetch was asked for.

    A fetcher that waits for another one's file notes a use, and so does a server that has served
    the file from the store.
    """
    these = set(pairs)
    found = prepared.rows(connection, _used_again(), {"names": {pair[0] for pair in these}})
    return any((project, filename) in these for project, filename in found)


@statement
def _used_again() -> sql.Select[Any]:
    asked = tables.asked
    query = sql.select(asked.c.project, asked.c.filename)
    return query.where(among(asked.c.project, "names"), asked.c.used_at > asked.c.asked_at)


def done(connection: Connection, pairs: Iterable[Pair], worker_id: int) -> None:
    """Note that a worker does not fetch these files any more. Their rows stay."""
    _each(connection, _done(), pairs, worker=worker_id)


@statement
def _done() -> sql.Update:
    return sql.update(tables.asked).where(*_is_it(), _is_of_worker()).values(worker_id=None)


def _is_of_worker() -> sql.ColumnElement[bool]:
    return tables.asked.c.worker_id == sql.bindparam("worker")


def forget(connection: Connection, pairs: Iterable[Pair], worker_id: int) -> None:
    """Delete files that a worker could not fetch. Rows that it does not have stay."""
    _each(connection, _forget(), pairs, worker=worker_id)


@statement
def _forget() -> sql.Delete:
    return sql.delete(tables.asked).where(*_is_it(), _is_of_worker())


def used(connection: Connection, pairs: Iterable[Pair], at: float) -> None:
    """Note that clients were served these files. Files without a row are ignored."""
    _each(connection, _used(), pairs, at=at)


@statement
def _used() -> sql.Update:
    asked = tables.asked
    at: sql.BindParameter[float] = sql.bindparam("at")
    return sql.update(asked).where(*_is_it(), asked.c.used_at < at).values(used_at=at)


def drop(connection: Connection, pairs: Iterable[Pair]) -> None:
    """Delete these files, whoever fetches them."""
    _each(connection, _drop(), pairs)


@statement
def _drop() -> sql.Delete:
    return sql.delete(tables.asked).where(*_is_it())


def _each(
    connection: Connection, changing: Statement, pairs: Iterable[Pair], **values: float
) -> None:
    # In order, so that no two transactions wait for each other.
    rows = [{**_key(pair), **values} for pair in sorted(pairs)]
    prepared.execute_many(connection, changing, rows)


def every(connection: Connection) -> Iterator[AskedRecord]:
    """Stream all files, the least recently used first."""
    return mapper.stream(connection, _every(), AskedRecord, {})


@statement
def _every() -> sql.Select[Any]:
    return sql.select(tables.asked).order_by(*_oldest_first())


def _oldest_first() -> tuple[sql.ColumnElement[Any], ...]:
    return (tables.asked.c.used_at, tables.asked.c.project, tables.asked.c.filename)


class RequestedFile(NamedTuple):
    """A file that a client has asked for and no worker fetches now."""

    project: str
    filename: str
    used_at: float
    file_id: int | None  #: None: the catalog has no such file
    size: int  #: bytes that are here; 0: none


def held(connection: Connection) -> Iterator[RequestedFile]:
    """Yield the files that no worker fetches, the least recently used first.

    Ties are in the order of their names.
    """
    query, values = _held(connection.dialect.name), {"now": time.time()}
    for row in prepared.stream(connection, query, values):
        yield RequestedFile(*row)


@statement
def _held(dialect: str) -> sql.Select[Any]:
    asked, projects, files = tables.asked, tables.projects, tables.files
    is_here = is_in([State.FETCHED, *PROVEN]) | files.c.withdrawn_at.is_not(None)
    size = sql.case((is_here, sql.func.coalesce(files.c.size, 0)), else_=0)
    its_file = sql.and_(files.c.project_id == projects.c.id, files.c.filename == asked.c.filename)
    return (
        sql.select(asked.c.project, asked.c.filename, asked.c.used_at, files.c.id, size)
        .outerjoin_from(asked, projects, projects.c.name == asked.c.project)
        .outerjoin(files, its_file)
        .where(_is_free(dialect))
        .order_by(*_oldest_first())
    )


def of_projects(
    connection: Connection, names: Iterable[str] | None = None
) -> dict[str, list[AskedRecord]]:
    """Return the files of these projects, or of all, by project and in order."""
    found: dict[str, list[AskedRecord]] = defaultdict(list)
    values = {} if names is None else {"names": names}
    query = _of_projects(named=names is not None)
    for record in mapper.stream(connection, query, AskedRecord, values):
        found[record.project].append(record)
    return dict(found)


@statement
def _of_projects(*, named: bool) -> sql.Select[Any]:
    asked = tables.asked
    query = sql.select(asked).order_by(asked.c.project, asked.c.filename)
    return query.where(among(asked.c.project, "names")) if named else query


def oldest(connection: Connection) -> float | None:
    """Return the time when the least recently used file was used; None without files."""
    found: float | None = prepared.value(connection, _oldest(), {})
    return found


@statement
def _oldest() -> sql.Select[Any]:
    return sql.select(sql.func.min(tables.asked.c.used_at))
