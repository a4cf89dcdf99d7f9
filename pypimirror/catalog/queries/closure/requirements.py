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
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    and_,
    case,
    delete,
    func,
    insert,
    or_,
    select,
)

from pypimirror.catalog.mapping import mapper
from pypimirror.catalog.mapping.inserts import insert_or_ignore
from pypimirror.catalog.queries.projects import CHUNK, chunks, is_due
from pypimirror.catalog.records import OfferedFile, UnreadFile
from pypimirror.catalog.schema import files, needs, projects, requirements
from pypimirror.catalog.states import DUE, PROVEN, Cause, State
from pypimirror.domain.metadata.requirements import Requirements

_decode = msgspec.json.Decoder(Requirements).decode
_decode_versions = msgspec.json.Decoder(tuple[str, ...]).decode

#: States in which no bytes are here. Then the upstream's announcement says what a file requires.
_AWAY = DUE | {State.LINKED}
#: Causes for which bytes stay here although they are on no page.
_WITHHELD = (Cause.QUARANTINE, Cause.DROPPED)


def _is_announced() -> ColumnElement[bool]:
    """Return the condition that an upstream announces core metadata with its digest."""
    return func.length(files.c.metadata_claim) > 0


def _digest() -> ColumnElement[Any]:
    """Return the key of a file's requirements."""
    announced = case((_is_announced(), files.c.metadata_claim))
    held = files.c.metadata_sha256
    key = case(
        (files.c.state.in_(_AWAY), announced),
        (files.c.state == State.FETCHED, func.coalesce(held, announced)),
        else_=held,
    )
    return func.coalesce(key, files.c.sha256)


def _counts() -> ColumnElement[bool]:
    """Return the condition that a file is offered here, or stays until the guard accepts its loss.

    Otherwise the closure would shrink if an upstream dropped files by mistake.
    """
    columns = files.c
    offered = columns.removal_cause.is_distinct_from(Cause.SELECTION)
    withheld = columns.removal_cause.in_(_WITHHELD)
    return and_(offered, or_(columns.state != State.WITHDRAWN, withheld))


def offered(connection: Connection, ids: Sequence[int] | None = None) -> Iterator[OfferedFile]:
    """Stream the files that count, in any order: of these projects, or of all."""
    others: dict[str, Any] = {"project": projects.c.name, "digest": _digest()}
    query = mapper.select_record(OfferedFile, files, **others).join_from(files, projects)
    query = query.where(_counts()).execution_options(yield_per=CHUNK)
    if ids is None:
        yield from mapper.read(connection, query, OfferedFile)
        return
    for chunk in chunks(ids):
        some = query.where(files.c.project_id.in_(chunk))
        yield from mapper.read(connection, some, OfferedFile)


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
    digest = _digest()
    others: dict[str, Any] = {
        "project": projects.c.name,
        "upstream": projects.c.upstream,
        "digest": digest,
    }
    known = select(requirements.c.digest).where(requirements.c.digest == digest)
    away: ColumnElement[bool] = files.c.state == State.LINKED
    if due_at is not None:
        fetchable = DUE | {State.FETCHED}
        away = or_(away, and_(files.c.state.in_(fetchable), is_due(due_at)))
    can_be_asked = and_(
        away,
        _is_announced(),
        files.c.filename.like("%.whl"),
        projects.c.upstream.is_not(None),
    )
    query = (
        mapper.select_record(UnreadFile, files, **others)
        .join_from(files, projects)
        .where(
            files.c.id > after,
            or_(files.c.state.in_(PROVEN), can_be_asked),
            _counts(),
            digest.is_not(None),
            ~known.exists(),
        )
        .order_by(files.c.id)
        .limit(limit)
    )
    if ids is not None:
        query = query.where(files.c.project_id.in_(ids))
    return list(mapper.read(connection, query, UnreadFile))


def add(connection: Connection, found: Mapping[bytes, Requirements]) -> None:
    """Store the requirements of files."""
    rows = [
        {"digest": digest, "found": msgspec.json.encode(each).decode()}
        for digest, each in found.items()
    ]
    if rows:
        connection.execute(insert_or_ignore(connection, requirements), rows)


def every(connection: Connection) -> Iterator[tuple[bytes, Requirements]]:
    """Stream all stored requirements, by key."""
    query = select(requirements.c.digest, requirements.c.found)
    for digest, found in connection.execute(query.execution_options(yield_per=CHUNK)):
        yield digest, _decode(found)


def of_digests(
    connection: Connection, digests: Iterable[bytes]
) -> Iterator[tuple[bytes, Requirements]]:
    """Yield the stored requirements under these keys."""
    for chunk in chunks(digests):
        query = select(requirements.c.digest, requirements.c.found)
        for digest, found in connection.execute(query.where(requirements.c.digest.in_(chunk))):
            yield digest, _decode(found)


def forget_unused(connection: Connection) -> None:
    """Delete requirements that no file has any more."""
    digest: Column[Any] = requirements.c.digest
    used = select(_digest().label("digest")).where(_digest().is_not(None)).distinct().subquery()
    # With NOT IN, PostgreSQL compares each row with each if the list is larger than its work_mem.
    # Without DISTINCT, SQLite does the same in the join.
    unused = select(digest).outerjoin_from(requirements, used, used.c.digest == digest)
    unused = unused.where(used.c.digest.is_(None))
    connection.execute(delete(requirements).where(digest.in_(unused)))


def needed(connection: Connection) -> dict[str, tuple[str, ...]]:
    """Return the version specifiers of each project that is needed."""
    rows = connection.execute(select(needs.c.project, needs.c.versions).order_by(needs.c.project))
    return {project: _decode_versions(versions) for project, versions in rows}


def set_needed(
    connection: Connection, changed: Mapping[str, Sequence[str]], gone: Iterable[str]
) -> None:
    """Store new version specifiers of needed projects, and delete projects that are no longer
    needed.
    """
    for chunk in chunks([*changed, *gone]):
        connection.execute(delete(needs).where(needs.c.project.in_(chunk)))
    rows = [
        {"project": project, "versions": msgspec.json.encode(versions).decode()}
        for project, versions in changed.items()
    ]
    if rows:
        connection.execute(insert(needs), rows)
