"""Queries on the entries of the root index: which there are, which may have changed, and its head.

`projects.root_entry_stale` is set in the transaction that changes what the root index should say of
a project: with its page (`pypimirror.pipeline.publish.publish`), and when it is gone
(`projects.set_gone`).
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
    """Stream what `make` makes of name and page serial of the projects that have a page.

    They come by the bytes of their names. Those that are not offered any more are among them while
    `with_gone` says so. No record stands between: these are all projects.
    """
    query = _on_disk(connection, select(projects.c.name, projects.c.page_serial), with_gone)
    for name, serial in connection.execute(query):
        yield make(name, serial)


def root_names(connection: Connection, with_gone: bool) -> Iterator[str]:
    """Stream the names alone, in the same order."""
    yield from connection.scalars(_on_disk(connection, select(projects.c.name), with_gone))


def _on_disk(connection: Connection, query: Select[Any], with_gone: bool) -> Select[Any]:
    columns = projects.c
    # Sorted, and not read by the index on names, which leads all over the table: a third of the
    # time, and of an index that is not in memory a tenth.
    name: ColumnElement[str] = columns.name.concat("")
    if connection.dialect.name == "postgresql":  # else in the order of some language
        name = name.collate("C")
    query = query.where(columns.page_on_disk.is_(True)).order_by(name)
    if not with_gone:
        query = query.where(columns.removal_cause.is_(None))
    return query.execution_options(yield_per=CHUNK)


def to_relist(connection: Connection, limit: int) -> list[StaleRootIndexEntry]:
    """Return projects of which the root index may say something else: at most `limit` of them."""
    query = mapper.select_record(StaleRootIndexEntry, projects)
    query = query.where(projects.c.root_entry_stale.is_(True)).order_by(projects.c.id).limit(limit)
    return list(mapper.read(connection, query, StaleRootIndexEntry))


def is_to_relist(connection: Connection, *, with_gone: bool) -> bool:
    """Whether there are such, also among those that are gone unless they stay `with_gone`."""
    query = select(projects.c.id).where(projects.c.root_entry_stale.is_(True))
    if with_gone:
        query = query.where(projects.c.removal_cause.is_(None))
    return connection.scalar(query.limit(1)) is not None


def relisted(connection: Connection) -> None:
    """Note that the root index says of all projects what it should, but for those that are gone.

    As long as they have a page, whether it lists them hangs on the deletion guard.
    """
    known = update(projects).where(
        projects.c.root_entry_stale.is_(True), projects.c.removal_cause.is_(None)
    )
    connection.execute(known.values(root_entry_stale=None))


def newest_api(connection: Connection) -> str | None:
    """Return the highest API version among the pages, as text."""
    versions = connection.scalars(
        select(projects.c.api_version).where(projects.c.api_version.is_not(None)).distinct()
    )
    return max(versions, key=lambda text: [int(part) for part in text.split(".")], default=None)


def newest_serial(connection: Connection) -> int | None:
    """Return the highest serial among the pages."""
    newest: int | None = connection.scalar(select(func.max(projects.c.page_serial)))
    return newest
