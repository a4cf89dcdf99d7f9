"""Queries on the upstreams' project lists, and on projects as these lists have them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pypimirror.catalog import bulk
from pypimirror.catalog.mapping import mapper, prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.inserts import insert_for, parameters
from pypimirror.catalog.mapping.prepared import among, statement
from pypimirror.catalog.queries.projects import FRESH, chunks
from pypimirror.catalog.records import KnownProject, ListRecord
from pypimirror.domain.model import ProjectName

#: Values of the columns about a list, once the page has been read.
UNLISTED: Mapping[str, None] = {"listed": None, "listed_serial": None, "listed_at": None}


def get_list(connection: Connection, upstream: str) -> ListRecord | None:
    """Return the row of an upstream's project list, or None."""
    return mapper.read_first(connection, _get_list(), ListRecord, {"upstream": upstream})


@statement
def _get_list() -> sql.Select[Any]:
    lists = tables.lists
    return sql.select(lists).where(lists.c.upstream == sql.bindparam("upstream"))


def set_list(connection: Connection, upstream: str, **values: Any) -> None:
    """Store that an upstream's project list was read."""
    prepared.execute(connection, _forget_list(), {"upstream": upstream})
    bulk.insert_rows(connection, "lists", [{"upstream": upstream, **values}])


@statement
def _forget_list() -> sql.Delete:
    lists = tables.lists
    return sql.delete(lists).where(lists.c.upstream == sql.bindparam("upstream"))


def forget_lists(connection: Connection) -> None:
    """Forget all project lists, so that they are read again."""
    prepared.execute(connection, _forget_lists(), {})


@statement
def _forget_lists() -> sql.Delete:
    return sql.delete(tables.lists)


class Listed(NamedTuple):
    """The entry of a project in an upstream's list."""

    name: ProjectName
    serial: int | None
    place: str | None = None  #: address of its page; None: the usual one


def to_look_as_listed(connection: Connection, listed: Iterable[Listed], upstream: str) -> None:
    """Mark projects whose pages must be fetched, because the list of `upstream` has them.

    Projects that have no row get one.
    """
    for chunk in chunks(listed):
        rows = [
            {"name": name, "upstream": upstream, "listed_serial": serial, "listed_at": place}
            for name, serial, place in chunk
        ]
        prepared.execute_many(connection, _to_look_as_listed(connection.dialect.name), rows)


@statement
def _to_look_as_listed(dialect: str) -> Any:
    projects = tables.projects
    given = ("name", "upstream", "listed_serial", "listed_at")
    wanted = dict.fromkeys(("needs_fetch", "has_work", "listed"), True)
    values = {**FRESH, **wanted, **parameters(*given)}
    listed = insert_for(dialect, projects).values(values)
    new = listed.excluded
    # The validators of another upstream's page are not valid here.
    same = {
        column.name: sql.case((projects.c.upstream == new.upstream, column))
        for column in (projects.c.etag, projects.c.last_modified, projects.c.page_digest)
    }
    told = {name: new[name] for name in (*wanted, *given[1:])}
    return listed.on_conflict_do_update(index_elements=["name"], set_={**told, **same}).inline()


def known(connection: Connection, besides: Collection[str] = ()) -> Iterator[KnownProject]:
    """Stream the columns of all projects that are compared with lists.

    Those that are offered by the upstreams `besides` are left out.
    """
    values = {"upstreams": besides} if besides else {}
    yield from mapper.stream(connection, _known(some=bool(besides)), KnownProject, values)


@statement
def _known(*, some: bool) -> sql.Select[Any]:
    query = mapper.select_record(KnownProject, tables.projects)
    is_unclaimed = tables.projects.c.upstream.is_(None)
    return query.where(sql.or_(is_unclaimed, sql.not_(_is_offered()))) if some else query


def number_offered(connection: Connection, upstreams: Collection[str]) -> int:
    """Return the number of projects that these upstreams offer."""
    return prepared.value(connection, _number_offered(), {"upstreams": upstreams}) or 0


@statement
def _number_offered() -> sql.Select[Any]:
    return sql.select(sql.func.count()).where(_is_offered())


def _is_offered() -> sql.ColumnElement[bool]:
    columns = tables.projects.c
    return sql.and_(among(columns.upstream, "upstreams"), columns.removal_cause.is_(None))
