"""Queries on the requirements of files, and on the projects that selected files need.

The key of a file's requirements is the digest of its core metadata, which many wheels of a release
share, or else its own digest. For a file that pages only link to, it is the digest of the core
metadata that its upstream announces. If the upstream announces none, the key is the claimed digest
of the file. Requirements are then only looked up: others may have stored them for these bytes.

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
from pypimirror.catalog.queries.projects import CHUNK, chunks, insert_or_ignore
from pypimirror.catalog.records import OfferedFile, UnreadFile
from pypimirror.catalog.schema import files, needs, projects, requirements
from pypimirror.catalog.states import PROVEN, Cause, State
from pypimirror.domain.metadata.dependencies import Requirements

_decode = msgspec.json.Decoder(Requirements).decode
_decode_versions = msgspec.json.Decoder(tuple[str, ...]).decode

#: Causes for which bytes stay here although they are on no page.
_WITHHELD = (Cause.QUARANTINE, Cause.DROPPED)


def _is_announced() -> ColumnElement[bool]:
    """Return the condition that an upstream announces core metadata with its digest."""
    return func.length(files.c.metadata_claim) > 0


def _digest() -> ColumnElement[Any]:
    """Return the key of a file's requirements."""
    announced = case((_is_announced(), files.c.metadata_claim))
    held = case((files.c.state == State.LINKED, announced), else_=files.c.metadata_sha256)
    return func.coalesce(held, files.c.sha256)


def _counts() -> ColumnElement[bool]:
    """Return the condition that a file is offered here, or stays until the guard accepts its loss.

    Otherwise the closure would shrink if an upstream dropped files by mistake.
    """
    columns = files.c
    offered = columns.removal_cause.is_distinct_from(Cause.SELECTION)
    withheld = columns.removal_cause.in_(_WITHHELD)
    return and_(offered, or_(columns.state != State.WITHDRAWN, withheld))


def offered(connection: Connection) -> Iterator[OfferedFile]:
    """Stream the files that count, in any order."""
    others: dict[str, Any] = {"project": projects.c.name, "digest": _digest()}
    query = mapper.select_record(OfferedFile, files, **others).join_from(files, projects)
    query = query.where(_counts()).execution_options(yield_per=CHUNK)
    yield from mapper.read(connection, query, OfferedFile)


def unread(connection: Connection, after: int, limit: int) -> list[UnreadFile]:
    """Return the next files, after id `after`, whose requirements have not been read.

    Their bytes are here, or pages link to them and the upstream announces the digest of their core
    metadata.
    """
    digest = _digest()
    others: dict[str, Any] = {
        "project": projects.c.name,
        "upstream": projects.c.upstream,
        "digest": digest,
    }
    known = select(requirements.c.digest).where(requirements.c.digest == digest)
    can_be_asked = and_(
        files.c.state == State.LINKED,
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
