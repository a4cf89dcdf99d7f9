"""Queries on the entries of the root index: all entries, stale entries, and the head.

`projects.root_entry_stale` is set in the transaction that changes what the root index must contain
for a project: when its page is written (`pypimirror.pipeline.publish.publish`), and when it is
removed (`projects.set_gone`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, func, select, update

from pypimirror.catalog.mapping import mapper
from pypimirror.catalog.queries.projects import CHUNK
from pypimirror.catalog.records import StaleRootIndexEntry
from pypimirror.catalog.schema import projects

T = TypeVar("T")


def root_entries(
    connection: Connection, with_gone: bool, make: Callable[[str, int | None], T]
) -> Iterator[T]:
    """Stream `make(name, page serial)` for each project that has a page.

    They are sorted by the bytes of their names. With `with_gone`, removed projects are included. No
    record is built in between, because these are all projects.
    """
    query = _on_disk(connection, select(projects.c.name, projects.c.page_serial), with_gone)
    for name, serial in connection.execute(query):
        yield make(name, serial)


def root_names(connection: Connection, with_gone: bool) -> Iterator[str]:
    """Stream only the names, in the same order."""
    yield from connection.scalars(_on_disk(connection, select(projects.c.name), with_gone))


def _on_disk(connection: Connection, query: Select[Any], with_gone: bool) -> Select[Any]:
    columns = projects.c
    # This expression makes the database sort instead of reading in the order of the index on names,
    # which jumps all over the table. That takes a third of the time, or a tenth if the index is not
    # in memory.
    name: ColumnElement[str] = columns.name.concat("")
    if connection.dialect.name == "postgresql":  # else it sorts by the rules of a language
        name = name.collate("C")
    query = query.where(columns.page_on_disk.is_(True)).order_by(name)
    if not with_gone:
        query = query.where(columns.removal_cause.is_(None))
    return query.execution_options(yield_per=CHUNK)


def to_relist(connection: Connection, limit: int) -> list[StaleRootIndexEntry]:
    """Return at most `limit` projects whose entries in the root index may be stale."""
    query = mapper.select_record(StaleRootIndexEntry, projects)
    query = query.where(projects.c.root_entry_stale.is_(True)).order_by(projects.c.id).limit(limit)
    return list(mapper.read(connection, query, StaleRootIndexEntry))


def is_to_relist(connection: Connection, *, with_gone: bool) -> bool:
    """Whether any entry may be stale. `with_gone`: entries of removed projects do not count."""
    query = select(projects.c.id).where(projects.c.root_entry_stale.is_(True))
    if with_gone:
        query = query.where(projects.c.removal_cause.is_(None))
    return connection.scalar(query.limit(1)) is not None


def relisted(connection: Connection) -> None:
    """Note that all entries of the root index are right, except those of removed projects.

    Whether the index lists a removed project with a page depends on the deletion guard.
    """
    known = update(projects).where(
        projects.c.root_entry_stale.is_(True), projects.c.removal_cause.is_(None)
    )
    connection.execute(known.values(root_entry_stale=None))


def newest_api(connection: Connection) -> str | None:
    """Return the highest API version of all pages, as text.

    There are few, so each is looked up in the index after the one before.
    """
    versions = [""]
    following = select(func.min(projects.c.api_version))
    while found := connection.scalar(following.where(projects.c.api_version > versions[-1])):
        versions.append(found)
    by_number = (([int(part) for part in text.split(".")], text) for text in versions[1:])
    return max(by_number, default=([], None))[1]


def newest_serial(connection: Connection) -> int | None:
    """Return the highest serial of all pages."""
    newest: int | None = connection.scalar(select(func.max(projects.c.page_serial)))
    return newest
