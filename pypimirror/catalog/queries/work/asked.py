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

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Insert,
    Select,
    and_,
    bindparam,
    case,
    delete,
    func,
    or_,
    select,
    tuple_,
    update,
)

from pypimirror.catalog.mapping import mapper, prepared
from pypimirror.catalog.mapping.inserts import insert_for
from pypimirror.catalog.mapping.prepared import among, statement
from pypimirror.catalog.queries.files import with_project
from pypimirror.catalog.queries.leases import clock_of_server, now
from pypimirror.catalog.queries.projects import CHUNK, chunks
from pypimirror.catalog.records import AskedRecord, ProjectFile
from pypimirror.catalog.schema import asked, claims, files, projects, workers
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
    } | _now_of(connection)
    return bool(prepared.rows(connection, _ask(connection.dialect.name), values))


@statement
def _ask(dialect: str) -> Insert:
    columns = ("project", "filename", "size", "asked_at", "used_at", "worker_id")
    statement = insert_for(dialect, asked).values({name: bindparam(name) for name in columns})
    new = statement.excluded
    is_mine = asked.c.worker_id == new.worker_id
    found: Insert = statement.on_conflict_do_update(
        index_elements=["project", "filename"],
        set_={
            "size": func.coalesce(new.size, asked.c.size),
            "asked_at": case((is_mine, asked.c.asked_at), else_=new.asked_at),
            "used_at": case((is_mine, asked.c.used_at), else_=new.used_at),
            "worker_id": new.worker_id,
        },
        where=or_(is_mine, _is_free(_now(dialect))),
    ).returning(asked.c.worker_id)
    return found


def _is_free(at: ColumnElement[float]) -> ColumnElement[bool]:
    """Return the condition that no worker that still works at this time has a file."""
    return or_(asked.c.worker_id.is_(None), asked.c.worker_id.not_in(_at_work(at)))


def _at_work(at: ColumnElement[float]) -> Select[tuple[int]]:
    # No correlated subquery: in the condition of an INSERT, SQLAlchemy would not correlate it.
    return select(workers.c.id).where(workers.c.state == WORKING, workers.c.expires_at > at)


def under_way(connection: Connection, names: Iterable[str]) -> dict[Pair, float]:
    """Return the files of these projects that a worker fetches now, with the time of their request.

    A file that is asked for again after its fetch has ended has another time.
    """
    found: dict[Pair, float] = {}
    columns = asked.c.project, asked.c.filename, asked.c.asked_at
    for chunk in chunks(names):
        in_hand = asked.c.worker_id.in_(_at_work(now(connection)))
        query = select(*columns).where(asked.c.project.in_(chunk), in_hand)
        found |= {(row.project, row.filename): row.asked_at for row in connection.execute(query)}
    return found


def in_a_run(connection: Connection, pair: Pair) -> tuple[int, int] | None:
    """Return the worker of a run that has the project of a file in hand, and the file's id.

    None: no run has it in hand, or the catalog has no such file.
    """
    values = {"project": pair[0], "filename": pair[1]} | _now_of(connection)
    found = prepared.rows(connection, _in_a_run(connection.dialect.name), values)
    return (found[0][0], found[0][1]) if found else None


@statement
def _in_a_run(dialect: str) -> Select[tuple[int, int]]:
    return (
        select(workers.c.id, files.c.id)
        .join_from(files, projects, files.c.project_id == projects.c.id)
        .join(claims, claims.c.project_id == projects.c.id)
        .join(workers, workers.c.id == claims.c.worker_id)
        .where(projects.c.name == bindparam("project"), files.c.filename == bindparam("filename"))
        .where(claims.c.done.is_(False), workers.c.executor != REQUEST)
        .where(workers.c.state == WORKING, workers.c.expires_at > _now(dialect))
    )


def _now(dialect: str) -> Any:
    """Return `leases.now` for a statement that is used again."""
    return clock_of_server() if dialect == "postgresql" else bindparam("now", type_=Float())


def _now_of(connection: Connection) -> dict[str, float]:
    """Return the parameter of `_now`."""
    return {"now": time.time()} if connection.dialect.name == "sqlite" else {}


def left(connection: Connection, ids: Collection[int]) -> list[ProjectFile]:
    """Return the files with these ids, which a run has left to request workers."""
    return mapper.read_all(connection, _left(), ProjectFile, {"ids": ids})


@statement
def _left() -> Select[Any]:
    return with_project().where(among(files.c.id))


def fetched_by(connection: Connection, pair: Pair) -> int | None:
    """Return the worker that fetches a file, which may have died; None if nobody does."""
    found: int | None = connection.scalar(select(asked.c.worker_id).where(_is(pair)))
    return found


def are_used_again(connection: Connection, pairs: Iterable[Pair]) -> bool:
    """Whether one of these files was used since its fetch was asked for.

    A fetcher that waits for another one's file notes a use, and so does a server that has served
    the file from the store.
    """
    for chunk in chunks(pairs):
        theirs = tuple_(asked.c.project, asked.c.filename).in_(chunk)
        query = select(asked.c.project).where(theirs, asked.c.used_at > asked.c.asked_at)
        if connection.execute(query.limit(1)).first():
            return True
    return False


def done(connection: Connection, pairs: Iterable[Pair], worker_id: int) -> None:
    """Note that a worker does not fetch these files any more. Their rows stay."""
    _each(connection, update(asked).values(worker_id=None), pairs, worker_id)


def forget(connection: Connection, pairs: Iterable[Pair], worker_id: int) -> None:
    """Delete files that a worker could not fetch. Rows that it does not have stay."""
    _each(connection, delete(asked), pairs, worker_id)


def _each(connection: Connection, statement: Any, pairs: Iterable[Pair], worker_id: int) -> None:
    for chunk in chunks(pairs):
        theirs = tuple_(asked.c.project, asked.c.filename).in_(chunk)
        connection.execute(statement.where(theirs, asked.c.worker_id == worker_id))


def used(connection: Connection, pairs: Iterable[Pair], at: float) -> None:
    """Note that clients were served these files. Files without a row are ignored."""
    for chunk in chunks(pairs):
        theirs = tuple_(asked.c.project, asked.c.filename).in_(chunk)
        connection.execute(update(asked).where(theirs, asked.c.used_at < at).values(used_at=at))


def _is(pair: Pair) -> ColumnElement[bool]:
    return and_(asked.c.project == pair[0], asked.c.filename == pair[1])


def every(connection: Connection) -> Iterator[AskedRecord]:
    """Stream all files, the least recently used first."""
    query = select(asked).order_by(asked.c.used_at, asked.c.project, asked.c.filename)
    yield from mapper.read(connection, query.execution_options(yield_per=CHUNK), AskedRecord)


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
    is_here = or_(files.c.state.in_([State.FETCHED, *PROVEN]), files.c.withdrawn_at.is_not(None))
    size = case((is_here, func.coalesce(files.c.size, 0)), else_=0)
    query = (
        select(asked.c.project, asked.c.filename, asked.c.used_at, files.c.id, size)
        .outerjoin_from(asked, projects, projects.c.name == asked.c.project)
        .outerjoin(
            files, and_(files.c.project_id == projects.c.id, files.c.filename == asked.c.filename)
        )
        .where(_is_free(now(connection)))
        .order_by(asked.c.used_at, asked.c.project, asked.c.filename)
    )
    for row in connection.execute(query):
        yield RequestedFile(*row)


def of_projects(
    connection: Connection, names: Iterable[str] | None = None
) -> dict[str, list[AskedRecord]]:
    """Return the files of these projects, or of all, by project and in order."""
    found: dict[str, list[AskedRecord]] = defaultdict(list)
    if names is None:
        records = mapper.read(connection, _in_order(), AskedRecord)
    else:
        records = iter(mapper.read_all(connection, _of_these(), AskedRecord, {"names": names}))
    for record in records:
        found[record.project].append(record)
    return dict(found)


def _in_order() -> Select[Any]:
    return select(asked).order_by(asked.c.project, asked.c.filename)


@statement
def _of_these() -> Select[Any]:
    return _in_order().where(among(asked.c.project, "names"))


def oldest(connection: Connection) -> float | None:
    """Return the time when the least recently used file was used; None without files."""
    found: float | None = connection.scalar(select(func.min(asked.c.used_at)))
    return found


def drop(connection: Connection, pairs: Iterable[Pair]) -> None:
    """Delete these files, whoever fetches them."""
    for chunk in chunks(pairs):
        theirs = tuple_(asked.c.project, asked.c.filename).in_(chunk)
        connection.execute(delete(asked).where(theirs))
