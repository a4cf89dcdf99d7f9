"""Queries on projects and on the upstreams' lists."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Select,
    Update,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal_column,
    not_,
    or_,
    select,
    update,
)

from pypimirror.catalog import bulk
from pypimirror.catalog.mapping import mapper, prepared
from pypimirror.catalog.mapping.inserts import insert_into, insert_or_ignore
from pypimirror.catalog.mapping.prepared import among, statement
from pypimirror.catalog.queries.closure import closed
from pypimirror.catalog.records import KnownProject, ListRecord, ProjectKey, ProjectRecord
from pypimirror.catalog.schema import files, lists, projects, refusals
from pypimirror.catalog.states import DUE, LONGEST_WAIT, OPEN, PROVEN, Cause, State
from pypimirror.domain.model import ProjectName

#: Most rows in one statement: both databases limit the variables of a statement.
CHUNK = 10_000


def chunks(items: Iterable[Any], size: int = CHUNK) -> Iterator[list[Any]]:
    """Split `items` into lists of at most `size`."""
    chunk: list[Any] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


#: The marks of a project about which nothing is known.
_FRESH: Mapping[str, bool] = dict.fromkeys(
    ("needs_fetch", "has_work", "page_stale", "page_on_disk"), False
)


def ensure(connection: Connection, names: Iterable[ProjectName]) -> None:
    """Add a row for each project that has none."""
    statement = insert_or_ignore(connection, projects)
    for chunk in chunks(names):
        rows = [{"name": name, **_FRESH} for name in chunk]
        connection.execute(statement, rows)


def to_look(connection: Connection, names: Iterable[ProjectName]) -> None:
    """Mark projects whose pages must be fetched. `upstream` is the one whose list has them."""
    named = projects.c.name == bindparam("key")
    statement = update(projects).where(named).values(needs_fetch=True, has_work=True)
    for chunk in chunks(names):
        connection.execute(statement, [{"key": name} for name in chunk])


class Listed(NamedTuple):
    """The entry of a project in an upstream's list."""

    name: ProjectName
    serial: int | None
    place: str | None = None  #: address of its page; None: the usual one


def to_look_as_listed(connection: Connection, listed: Iterable[Listed], upstream: str) -> None:
    """Mark projects whose pages must be fetched, because the list of `upstream` has them.

    Projects that have no row get one.
    """
    statement = insert_into(connection, projects)
    new = statement.excluded
    # The validators of another upstream's page are not valid here.
    same = {
        column.name: case((projects.c.upstream == new.upstream, column))
        for column in (projects.c.etag, projects.c.last_modified, projects.c.page_digest)
    }
    wanted = {"needs_fetch": True, "has_work": True, "upstream": upstream, "listed": True}
    told = ("needs_fetch", "has_work", "upstream", "listed", "listed_serial", "listed_at")
    statement = statement.on_conflict_do_update(
        index_elements=["name"], set_={**{name: new[name] for name in told}, **same}
    )
    for chunk in chunks(listed):
        rows = [
            {**_FRESH, **wanted, "name": name, "listed_serial": serial, "listed_at": place}
            for name, serial, place in chunk
        ]
        connection.execute(statement, rows)


#: Values of the columns about a list, once the page has been read.
UNLISTED: Mapping[str, None] = {"listed": None, "listed_serial": None, "listed_at": None}


def choose_again(connection: Connection, now: float) -> None:
    """Mark projects whose selected files have changed by time; their pages must be read again."""
    connection.execute(
        update(projects)
        .where(projects.c.choice_until <= now, projects.c.removal_cause.is_(None))
        .values(needs_fetch=True, has_work=True, choice_until=None, **UNREAD)
    )


#: The columns that identify the page that was read last, for a page that was never read.
UNREAD: Mapping[str, None] = {"etag": None, "last_modified": None, "page_digest": None}


def decide_again(
    connection: Connection, names: Sequence[ProjectName]
) -> Iterator[tuple[int, ProjectName]]:
    """Mark projects whose selected files have changed; yield their ids and names.

    Their pages must be read again, even if the upstream's page is the same.
    """
    for chunk in chunks(names):
        these = projects.c.name.in_(chunk)
        marked = update(projects).where(these).values(needs_fetch=True, has_work=True, **UNREAD)
        connection.execute(marked)
        query = select(projects.c.id, projects.c.name).where(these).order_by(projects.c.id)
        yield from ((number, ProjectName(name)) for number, name in connection.execute(query))


def ask_again(connection: Connection) -> None:
    """Mark projects that the upstream deleted and whose pages the deletion guard has kept.

    If a broken upstream has recovered, its lists do not show that.
    """
    held_back = (
        projects.c.has_work.is_(True),
        projects.c.page_on_disk.is_(True),
        projects.c.needs_fetch.is_(False),
    )
    gone = projects.c.removal_cause == Cause.UPSTREAM
    connection.execute(update(projects).where(*held_back, gone).values(needs_fetch=True))


def check_again(connection: Connection, upstream: str, limit: int) -> None:
    """Mark at most `limit` projects of an upstream: those that were fetched longest ago."""
    columns = projects.c
    oldest = (
        select(columns.id)
        .where(
            columns.upstream == upstream,
            columns.removal_cause.is_(None),
            columns.needs_fetch.is_(False),
        )
        .order_by(columns.checked_at.nulls_first())
        .limit(limit)
    )
    marked = update(projects).where(columns.id.in_(oldest)).values(needs_fetch=True, has_work=True)
    connection.execute(marked)


def highest_id(connection: Connection) -> int:
    """Return the highest id: roughly the number of projects, without counting."""
    return connection.scalar(select(func.max(projects.c.id))) or 0


def known(connection: Connection, besides: Collection[str] = ()) -> Iterator[KnownProject]:
    """Stream the columns of all projects that are compared with lists.

    Those that are offered by the upstreams `besides` are left out.
    """
    query = mapper.select_record(KnownProject, projects)
    if besides:
        query = query.where(or_(projects.c.upstream.is_(None), not_(_offered_by(besides))))
    yield from mapper.read(connection, query.execution_options(yield_per=CHUNK), KnownProject)


def number_offered(connection: Connection, upstreams: Collection[str]) -> int:
    """Return the number of projects that these upstreams offer."""
    return connection.scalar(select(func.count()).where(_offered_by(upstreams))) or 0


def _offered_by(upstreams: Collection[str]) -> ColumnElement[bool]:
    return and_(projects.c.upstream.in_(upstreams), projects.c.removal_cause.is_(None))


def names(connection: Connection) -> Iterator[ProjectKey]:
    """Stream the key of every project."""
    query = mapper.select_record(ProjectKey, projects)
    yield from mapper.read(connection, query.execution_options(yield_per=CHUNK), ProjectKey)


def next_batch(
    connection: Connection, after: int, size: int, names: Sequence[ProjectName] | None
) -> list[int]:
    """Return ids of the next projects with work to do, after id `after`."""
    query = select(projects.c.id).where(projects.c.has_work.is_(True), projects.c.id > after)
    if names is not None:
        query = query.where(projects.c.name.in_(names))
    return list(connection.scalars(query.order_by(projects.c.id).limit(size)))


def number_left(connection: Connection, names: Sequence[ProjectName] | None) -> int:
    """Return the number of projects with work to do."""
    query = select(func.count()).select_from(projects).where(projects.c.has_work.is_(True))
    if names is not None:
        query = query.where(projects.c.name.in_(names))
    return connection.scalar(query) or 0


def get(connection: Connection, ids: Sequence[int]) -> list[ProjectRecord]:
    """Return the rows of projects, in the order of their ids."""
    return mapper.read_all(connection, _get(), ProjectRecord, {"ids": ids})


@statement
def _get() -> Select[Any]:
    return select(projects).where(among(projects.c.id)).order_by(projects.c.id)


def by_name(connection: Connection, names: Sequence[str]) -> list[ProjectRecord]:
    """Return the rows of the projects with these names."""
    return mapper.read_all(connection, _by_name(), ProjectRecord, {"names": names})


@statement
def _by_name() -> Select[Any]:
    return select(projects).where(among(projects.c.name, "names"))


def change(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Set columns by id. Rows with the same columns share a statement."""
    bulk.update_rows(connection, "projects", rows)


def drop(connection: Connection, ids: Sequence[int]) -> None:
    """Delete projects of which nothing was ever held."""
    for chunk in chunks(ids):
        connection.execute(delete(refusals).where(refusals.c.project_id.in_(chunk)))
        connection.execute(delete(projects).where(projects.c.id.in_(chunk)))


def is_due(now: float | ColumnElement[float]) -> ColumnElement[bool]:
    """Return the condition that a file does not wait for its next try."""
    next_try = files.c.next_try
    return or_(next_try.is_(None), next_try <= now, next_try > now + LONGEST_WAIT)


def lacks_provenance() -> ColumnElement[bool]:
    """Return the condition that a file is here and its attestations are missing."""
    columns = files.c
    return and_(
        columns.provenance.is_not(None),
        columns.provenance_sha256.is_(None),
        is_in(PROVEN),
    )


def is_in(states: Iterable[State]) -> ColumnElement[bool]:
    """Return the condition that a file is in one of `states`. They are part of the statement."""
    return files.c.state.in_([literal_column(str(int(state))) for state in sorted(states)])


def finish(
    connection: Connection, ids: Sequence[int], now: float, *, with_provenance: bool = True
) -> None:
    """Mark projects in `ids` as done if they have no work, or only files that wait for a next try.

    `files.wake` marks them again when the next try of a file is due.
    """
    prepared.execute(connection, _finish(with_provenance), {"ids": ids, "now": now})


@statement
def _finish(with_provenance: bool) -> Update:
    is_due_now = is_due(bindparam("now", type_=Float))
    is_open = and_(is_in(OPEN), or_(~is_in(DUE), is_due_now))
    if with_provenance:
        is_open = or_(is_open, and_(lacks_provenance(), is_due_now))
    open_file = select(files.c.id).where(
        files.c.project_id == projects.c.id, files.c.removal_cause.is_(None), is_open
    )
    return (
        update(projects)
        .where(
            among(projects.c.id),
            projects.c.needs_fetch.is_(False),
            projects.c.page_stale.is_(False),
            or_(projects.c.removal_cause.is_(None), projects.c.page_on_disk.is_(False)),
            ~open_file.exists(),
        )
        .values(has_work=False)
    )


def get_list(connection: Connection, upstream: str) -> ListRecord | None:
    """Return the row of an upstream's project list, or None."""
    query = select(lists).where(lists.c.upstream == upstream)
    return mapper.first(connection, query, ListRecord)


def set_list(connection: Connection, upstream: str, **values: Any) -> None:
    """Store that an upstream's project list was read."""
    connection.execute(delete(lists).where(lists.c.upstream == upstream))
    connection.execute(insert(lists), [{"upstream": upstream, **values}])


def forget_lists(connection: Connection) -> None:
    """Forget all project lists, so that they are read again."""
    connection.execute(delete(lists))


def touch(connection: Connection, ids: Iterable[int]) -> None:
    """Mark projects whose pages must be rendered."""
    for chunk in chunks(ids):
        prepared.execute(connection, _touch(), {"ids": chunk})


@statement
def _touch() -> Update:
    return update(projects).where(among(projects.c.id)).values(has_work=True, page_stale=True)


def reopen(connection: Connection, names: Iterable[ProjectName]) -> None:
    """Mark projects that have work to do after all."""
    for chunk in chunks(names):
        connection.execute(update(projects).where(projects.c.name.in_(chunk)).values(has_work=True))


def deselect(connection: Connection, ids: Iterable[int]) -> None:
    """Mark projects and all their files as removed because the configuration excludes them."""
    for chunk in chunks(ids):
        set_gone(connection, chunk, Cause.SELECTION)


def set_gone(connection: Connection, ids: Sequence[int], cause: Cause) -> None:
    """Mark projects and all their files as no longer offered, and delete their refusals."""
    if ids:
        closed.open_again(connection)
    connection.execute(delete(refusals).where(refusals.c.project_id.in_(ids)))
    connection.execute(update(projects).where(projects.c.id.in_(ids)).values(needs_fetch=False))
    connection.execute(
        update(projects)
        .where(
            projects.c.id.in_(ids),
            or_(projects.c.removal_cause.is_(None), projects.c.removal_cause != cause),
        )
        .values(
            removal_cause=cause,
            kept=None,
            has_work=True,
            root_entry_stale=case((projects.c.page_on_disk.is_(True), True)),
        )
    )
    connection.execute(
        update(files)
        .where(
            files.c.project_id.in_(ids),
            or_(files.c.removal_cause.is_(None), files.c.removal_cause != cause),
        )
        .values(removal_cause=files_gone(cause))
    )


def files_gone(cause: Cause | None) -> ColumnElement[Any] | Cause | None:
    """Return the cause to store for files that leave by `cause`. It depends on their old cause.

    A withheld file is on no page. Its new cause must show that it is a loss when the upstream drops
    it.
    """
    if cause not in (Cause.UPSTREAM, Cause.CLAIMS):
        return cause
    was_withheld = files.c.removal_cause.in_([Cause.QUARANTINE, Cause.DROPPED])
    return case((and_(was_withheld, files.c.withdrawn_at.is_not(None)), Cause.DROPPED), else_=cause)
