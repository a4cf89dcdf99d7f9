"""Queries on the requirements of files, and on the projects that selected files need.

The key of a file's requirements is the digest of its core metadata, which many wheels of a release
share, or else its own digest. For a file whose bytes are not here, it is the digest of the core
metadata that its upstream announces. If the upstream announces none, the key is the claimed digest
of the file. Requirements are then only looked up: others may have stored them for these bytes.
Once the bytes are here, only what they contain counts.

**The rule.** Requirements are stored only under the digest of bytes that were read and have this
digest. Otherwise one upstream could claim the digest of another upstream's file and decide what
that file requires.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from pypimirror.catalog import bulk
from pypimirror.catalog.mapping import mapper, prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.inserts import insert_for, parameters
from pypimirror.catalog.mapping.prepared import among, statement
from pypimirror.catalog.queries.projects import chunks, is_due, is_in, is_withheld
from pypimirror.catalog.records import OfferedFile, UnreadFile
from pypimirror.catalog.states import DUE, PROVEN, Cause, State
from pypimirror.domain.metadata.requirements import Requirements

_decode = msgspec.json.Decoder(Requirements).decode
_decode_versions = msgspec.json.Decoder(tuple[str, ...]).decode

#: Digests in one query.
_TOGETHER = 20

#: States in which no bytes are here. Then the upstream's announcement says what a file requires.
_AWAY = DUE | {State.LINKED}


def _is_announced() -> sql.ColumnElement[bool]:
    """Return the condition that an upstream announces core metadata with its digest."""
    return sql.func.length(tables.files.c.metadata_claim) > 0


def _digest() -> sql.ColumnElement[Any]:
    """Return the key of a file's requirements."""
    columns = tables.files.c
    announced = sql.case((_is_announced(), columns.metadata_claim))
    held = columns.metadata_sha256
    key = sql.case(
        (is_in(_AWAY), announced),
        (columns.state == State.FETCHED, sql.func.coalesce(held, announced)),
        else_=held,
    )
    return sql.func.coalesce(key, columns.sha256)


def _counts() -> sql.ColumnElement[bool]:
    """Return the condition that a file is offered here, or stays until the guard accepts its loss.

    Otherwise the closure would shrink if an upstream dropped files by mistake.
    """
    columns = tables.files.c
    offered = columns.removal_cause.is_distinct_from(Cause.SELECTION)
    return sql.and_(offered, sql.or_(columns.state != State.WITHDRAWN, is_withheld()))


def offered(connection: Connection, ids: Sequence[int] | None = None) -> Iterator[OfferedFile]:
    """Stream the files that count, in any order: of these projects, or of all."""
    if ids is None:
        yield from mapper.stream(connection, _offered(some=False), OfferedFile, {})
        return
    for chunk in chunks(ids):
        yield from mapper.stream(connection, _offered(some=True), OfferedFile, {"ids": chunk})


@statement
def _offered(*, some: bool) -> sql.Select[Any]:
    files, projects = tables.files, tables.projects
    others: dict[str, Any] = {"project": projects.c.name, "digest": _digest()}
    query = mapper.select_record(OfferedFile, files, **others).join_from(files, projects)
    query = query.where(_counts())
    return query.where(among(files.c.project_id)) if some else query


def unread(
    connection: Connection,
    after: int,
    limit: int,
    ids: Sequence[int] | None = None,
    due_at: float | None = None,
) -> list[UnreadFile]:
    """Return the next files, after id `after`, whose requirements have not been read.

    Their bytes are here, or the upstream announces the digest of their core metadata. Of files that
    are not here, these are the linked ones, and with `due_at` those that can be fetched at this
    time. With `ids`, only files of these projects are returned.
    """
    query = _unread(some=ids is not None, fetchable=due_at is not None)
    values: dict[str, Any] = {"after": after, "limit": limit}
    if ids is not None:
        values["ids"] = ids
    if due_at is not None:
        values["now"] = due_at
    return mapper.read_all(connection, query, UnreadFile, values)


@statement
def _unread(*, some: bool, fetchable: bool) -> sql.Select[Any]:
    files, projects, digest = tables.files, tables.projects, _digest()
    others: dict[str, Any] = {
        "project": projects.c.name,
        "upstream": projects.c.upstream,
        "digest": digest,
    }
    read = tables.requirements.c.digest
    known = sql.select(read).where(read == digest)
    away: sql.ColumnElement[bool] = files.c.state == State.LINKED
    if fetchable:
        is_due_now = is_due(sql.bindparam("now", type_=sql.Float))
        away = sql.or_(away, sql.and_(is_in(DUE | {State.FETCHED}), is_due_now))
    can_be_asked = sql.and_(
        away,
        _is_announced(),
        files.c.filename.like("%.whl"),
        projects.c.upstream.is_not(None),
    )
    query = (
        mapper.select_record(UnreadFile, files, **others)
        .join_from(files, projects)
        .where(
            files.c.id > sql.bindparam("after"),
            sql.or_(is_in(PROVEN), can_be_asked),
            _counts(),
            digest.is_not(None),
            ~known.exists(),
        )
        .order_by(files.c.id)
        .limit(sql.bindparam("limit", type_=sql.Integer))
    )
    return query.where(among(files.c.project_id)) if some else query


def add(connection: Connection, found: Mapping[bytes, Requirements]) -> None:
    """Store the requirements of files."""
    rows = [
        {"digest": digest, "found": msgspec.json.encode(each).decode()}
        for digest, each in found.items()
    ]
    prepared.execute_many(connection, _add(connection.dialect.name), rows)


@statement
def _add(dialect: str) -> Any:
    added = insert_for(dialect, tables.requirements).values(parameters("digest", "found"))
    return added.on_conflict_do_nothing().inline()


def every(connection: Connection) -> Iterator[tuple[bytes, Requirements]]:
    """Stream all stored requirements, by key."""
    for digest, found in prepared.stream(connection, _every(), {}):
        yield digest, _decode(found)


@statement
def _every() -> sql.Select[Any]:
    return sql.select(tables.requirements.c.digest, tables.requirements.c.found)


def of_digests(
    connection: Connection, digests: Iterable[bytes]
) -> Iterator[tuple[bytes, Requirements]]:
    """Yield the stored requirements under these keys."""
    for chunk in chunks(digests, _TOGETHER):
        padded = chunk + chunk[:1] * (_TOGETHER - len(chunk))
        values = {f"digest{number}": digest for number, digest in enumerate(padded)}
        for digest, found in prepared.rows(connection, _of_digests(), values):
            yield digest, _decode(found)


@statement
def _of_digests() -> sql.Select[Any]:
    columns = tables.requirements.c
    # Bytes cannot be in the list of `among`.
    names = (f"digest{number}" for number in range(_TOGETHER))
    wanted: list[sql.BindParameter[bytes]] = [sql.bindparam(name) for name in names]
    return sql.select(columns.digest, columns.found).where(columns.digest.in_(wanted))


def forget_unused(connection: Connection) -> None:
    """Delete requirements that no file has any more."""
    prepared.execute(connection, _forget_unused(), {})


@statement
def _forget_unused() -> sql.Delete:
    requirements = tables.requirements
    digest: sql.Column[Any] = requirements.c.digest
    used = sql.select(_digest().label("digest")).where(_digest().is_not(None)).distinct().subquery()
    # With NOT IN, PostgreSQL compares each row with each if the list is larger than its work_mem.
    # Without DISTINCT, SQLite does the same in the join.
    unused = sql.select(digest).outerjoin_from(requirements, used, used.c.digest == digest)
    return sql.delete(requirements).where(digest.in_(unused.where(used.c.digest.is_(None))))


def needed(connection: Connection) -> dict[str, tuple[str, ...]]:
    """Return the version specifiers of each project that is needed."""
    rows = prepared.rows(connection, _needed(), {})
    return {project: _decode_versions(versions) for project, versions in rows}


@statement
def _needed() -> sql.Select[Any]:
    columns = tables.needs.c
    return sql.select(columns.project, columns.versions).order_by(columns.project)


def set_needed(
    connection: Connection, changed: Mapping[str, Sequence[str]], gone: Iterable[str]
) -> None:
    """Store new version specifiers of needed projects, and delete projects that are no longer
    needed.
    """
    for chunk in chunks([*changed, *gone]):
        prepared.execute(connection, _forget_needed(), {"names": chunk})
    rows = [
        {"project": project, "versions": msgspec.json.encode(versions).decode()}
        for project, versions in changed.items()
    ]
    bulk.insert_rows(connection, "needs", rows)


@statement
def _forget_needed() -> sql.Delete:
    return sql.delete(tables.needs).where(among(tables.needs.c.project, "names"))
