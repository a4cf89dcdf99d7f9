"""Queries on projects. `queries.listed` has those about the upstreams' lists."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pypimirror.catalog import bulk
from pypimirror.catalog.mapping import mapper, prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.inserts import insert_for, parameters
from pypimirror.catalog.mapping.prepared import among, statement
from pypimirror.catalog.queries.closure import closed
from pypimirror.catalog.records import ProjectKey, ProjectRecord
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
FRESH: Mapping[str, bool] = dict.fromkeys(
    ("needs_fetch", "has_work", "page_stale", "page_on_disk"), False
)


def ensure(connection: Connection, names: Iterable[ProjectName]) -> None:
    """Add a row for each project that has none."""
    for chunk in chunks(names):
        rows = [{"name": name} for name in chunk]
        prepared.execute_many(connection, _ensure(connection.dialect.name), rows)


@statement
def _ensure(dialect: str) -> Any:
    fresh = insert_for(dialect, tables.projects).values({**parameters("name"), **FRESH})
    return fresh.on_conflict_do_nothing().inline()


def to_look(connection: Connection, names: Iterable[ProjectName]) -> None:
    """Mark projects whose pages must be fetched. `upstream` is the one whose list has them."""
    for chunk in chunks(names):
        prepared.execute(connection, _to_look(), {"names": chunk})


@statement
def _to_look() -> sql.Update:
    projects = tables.projects
    named = sql.update(projects).where(among(projects.c.name, "names"))
    return named.values(needs_fetch=True, has_work=True)


def choose_again(connection: Connection, now: float) -> None:
    """Mark projects whose selected files have changed by time; their pages must be read again."""
    prepared.execute(connection, _choose_again(), {"now": now})


@statement
def _choose_again() -> sql.Update:
    columns = tables.projects.c
    changed = columns.choice_until <= sql.bindparam("now")
    due = sql.update(tables.projects).where(changed, columns.removal_cause.is_(None))
    return due.values(needs_fetch=True, has_work=True, choice_until=None, **UNREAD)


#: The columns that identify the page that was read last, for a page that was never read.
UNREAD: Mapping[str, None] = {"etag": None, "last_modified": None, "page_digest": None}


def decide_again(
    connection: Connection, names: Sequence[ProjectName]
) -> Iterator[tuple[int, ProjectName]]:
    """Mark projects whose selected files have changed; yield their ids and names.

    Their pages must be read again, even if the upstream's page is the same.
    """
    for chunk in chunks(names):
        prepared.execute(connection, _decide_again(), {"names": chunk})
        found = prepared.rows(connection, _keys(), {"names": chunk})
        yield from ((number, ProjectName(name)) for number, name in found)


@statement
def _decide_again() -> sql.Update:
    named = sql.update(tables.projects).where(among(tables.projects.c.name, "names"))
    return named.values(needs_fetch=True, has_work=True, **UNREAD)


@statement
def _keys() -> sql.Select[Any]:
    columns = tables.projects.c
    named = sql.select(columns.id, columns.name).where(among(columns.name, "names"))
    return named.order_by(columns.id)


def ask_again(connection: Connection) -> None:
    """Mark projects that the upstream deleted and whose pages the deletion guard has kept.

    If a broken upstream has recovered, its lists do not show that.
    """
    prepared.execute(connection, _ask_again(), {})


@statement
def _ask_again() -> sql.Update:
    columns = tables.projects.c
    held_back = (
        columns.has_work.is_(True),
        columns.page_on_disk.is_(True),
        columns.needs_fetch.is_(False),
    )
    gone = columns.removal_cause == Cause.UPSTREAM
    return sql.update(tables.projects).where(*held_back, gone).values(needs_fetch=True)


def check_again(connection: Connection, upstream: str, limit: int) -> None:
    """Mark at most `limit` projects of an upstream: those that were fetched longest ago."""
    values = {"from_upstream": upstream, "limit": limit}
    prepared.execute(connection, _check_again(), values)


@statement
def _check_again() -> sql.Update:
    columns = tables.projects.c
    oldest = (
        sql.select(columns.id)
        .where(
            columns.upstream == sql.bindparam("from_upstream"),
            columns.removal_cause.is_(None),
            columns.needs_fetch.is_(False),
        )
        .order_by(columns.checked_at.nulls_first())
        .limit(sql.bindparam("limit", type_=sql.Integer))
    )
    marked = sql.update(tables.projects).where(columns.id.in_(oldest))
    return marked.values(needs_fetch=True, has_work=True)


def highest_id(connection: Connection) -> int:
    """Return the highest id: roughly the number of projects, without counting."""
    return prepared.value(connection, _highest_id(), {}) or 0


@statement
def _highest_id() -> sql.Select[Any]:
    return sql.select(sql.func.max(tables.projects.c.id))


def names(connection: Connection) -> Iterator[ProjectKey]:
    """Stream the key of every project."""
    yield from mapper.stream(connection, _names(), ProjectKey, {})


@statement
def _names() -> sql.Select[Any]:
    return mapper.select_record(ProjectKey, tables.projects)


def next_batch(
    connection: Connection, after: int, size: int, names: Sequence[ProjectName] | None
) -> list[int]:
    """Return ids of the next projects with work to do, after id `after`."""
    values = {"after": after, "limit": size, **_named(names)}
    found = prepared.rows(connection, _next_batch(named=names is not None), values)
    return [row[0] for row in found]


@statement
def _next_batch(*, named: bool) -> sql.Select[Any]:
    columns = tables.projects.c
    query = sql.select(columns.id).where(*_with_work(named), columns.id > sql.bindparam("after"))
    return query.order_by(columns.id).limit(sql.bindparam("limit", type_=sql.Integer))


def number_left(connection: Connection, names: Sequence[ProjectName] | None) -> int:
    """Return the number of projects with work to do."""
    query = _number_left(named=names is not None)
    return prepared.value(connection, query, _named(names)) or 0


@statement
def _number_left(*, named: bool) -> sql.Select[Any]:
    return sql.select(sql.func.count()).select_from(tables.projects).where(*_with_work(named))


def _with_work(named: bool) -> list[sql.ColumnElement[bool]]:
    columns = tables.projects.c
    return [columns.has_work.is_(True), *([among(columns.name, "names")] if named else [])]


def _named(names: Sequence[ProjectName] | None) -> dict[str, Any]:
    return {} if names is None else {"names": names}


def get(connection: Connection, ids: Sequence[int]) -> list[ProjectRecord]:
    """Return the rows of projects, in the order of their ids."""
    return mapper.read_all(connection, _get(), ProjectRecord, {"ids": ids})


@statement
def _get() -> sql.Select[Any]:
    projects = tables.projects
    return sql.select(projects).where(among(projects.c.id)).order_by(projects.c.id)


def by_name(connection: Connection, names: Sequence[str]) -> list[ProjectRecord]:
    """Return the rows of the projects with these names."""
    return mapper.read_all(connection, _by_name(), ProjectRecord, {"names": names})


@statement
def _by_name() -> sql.Select[Any]:
    return sql.select(tables.projects).where(among(tables.projects.c.name, "names"))


def change(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Set columns by id. Rows with the same columns share a statement."""
    bulk.update_rows(connection, "projects", rows)


def drop(connection: Connection, ids: Sequence[int]) -> None:
    """Delete projects of which nothing was ever held."""
    for chunk in chunks(ids):
        forget_refusals(connection, chunk)
        prepared.execute(connection, _drop(), {"ids": chunk})


def forget_refusals(connection: Connection, ids: Collection[int]) -> None:
    """Delete the refusals of projects."""
    prepared.execute(connection, _forget_refusals(), {"ids": ids})


@statement
def _forget_refusals() -> sql.Delete:
    return sql.delete(tables.refusals).where(among(tables.refusals.c.project_id))


@statement
def _drop() -> sql.Delete:
    return sql.delete(tables.projects).where(among(tables.projects.c.id))


def is_due(now: float | sql.ColumnElement[float]) -> sql.ColumnElement[bool]:
    """Return the condition that a file does not wait for its next try."""
    next_try = tables.files.c.next_try
    return sql.or_(next_try.is_(None), next_try <= now, next_try > now + LONGEST_WAIT)


def lacks_provenance() -> sql.ColumnElement[bool]:
    """Return the condition that a file is here and its attestations are missing."""
    columns = tables.files.c
    return sql.and_(
        columns.provenance.is_not(None),
        columns.provenance_sha256.is_(None),
        is_in(PROVEN),
    )


def is_in(states: Iterable[State]) -> sql.ColumnElement[bool]:
    """Return the condition that a file is in one of `states`. They are part of the statement."""
    return tables.files.c.state.in_(
        [sql.literal_column(str(int(state))) for state in sorted(states)]
    )


def finish(
    connection: Connection, ids: Sequence[int], now: float, *, with_provenance: bool = True
) -> None:
    """Mark projects in `ids` as done if they have no work, or only files that wait for a next try.

    `tries.wake` marks them again when the next try of a file is due.
    """
    prepared.execute(connection, _finish(with_provenance), {"ids": ids, "now": now})


@statement
def _finish(with_provenance: bool) -> sql.Update:
    files, projects = tables.files, tables.projects
    is_due_now = is_due(sql.bindparam("now", type_=sql.Float))
    is_open = sql.and_(is_in(OPEN), sql.or_(~is_in(DUE), is_due_now))
    if with_provenance:
        is_open = sql.or_(is_open, sql.and_(lacks_provenance(), is_due_now))
    open_file = sql.select(files.c.id).where(
        files.c.project_id == projects.c.id, files.c.removal_cause.is_(None), is_open
    )
    return (
        sql.update(projects)
        .where(
            among(projects.c.id),
            projects.c.needs_fetch.is_(False),
            projects.c.page_stale.is_(False),
            sql.or_(projects.c.removal_cause.is_(None), projects.c.page_on_disk.is_(False)),
            ~open_file.exists(),
        )
        .values(has_work=False)
    )


def touch(connection: Connection, ids: Iterable[int]) -> None:
    """Mark projects whose pages must be rendered."""
    for chunk in chunks(ids):
        prepared.execute(connection, _touch(), {"ids": chunk})


@statement
def _touch() -> sql.Update:
    these = sql.update(tables.projects).where(among(tables.projects.c.id))
    return these.values(has_work=True, page_stale=True)


def reopen(connection: Connection, names: Iterable[ProjectName]) -> None:
    """Mark projects that have work to do after all."""
    for chunk in chunks(names):
        prepared.execute(connection, _reopen(), {"names": chunk})


@statement
def _reopen() -> sql.Update:
    named = sql.update(tables.projects).where(among(tables.projects.c.name, "names"))
    return named.values(has_work=True)


def deselect(connection: Connection, ids: Iterable[int]) -> None:
    """Mark projects and all their files as removed because the configuration excludes them."""
    for chunk in chunks(ids):
        set_gone(connection, chunk, Cause.SELECTION)


def set_gone(connection: Connection, ids: Sequence[int], cause: Cause) -> None:
    """Mark projects and all their files as no longer offered, and delete their refusals."""
    if ids:
        closed.open_again(connection)
    values = {"ids": ids}
    forget_refusals(connection, ids)
    prepared.execute(connection, _fetch_no_more(), values)
    prepared.execute(connection, _set_gone(cause), values)
    prepared.execute(connection, _set_files_gone(cause), values)


@statement
def _fetch_no_more() -> sql.Update:
    these = sql.update(tables.projects).where(among(tables.projects.c.id))
    return these.values(needs_fetch=False)


@statement
def _set_gone(cause: Cause) -> sql.Update:
    columns = tables.projects.c
    these = sql.update(tables.projects).where(among(columns.id), _has_other(columns, cause))
    return these.values(
        removal_cause=cause,
        kept=None,
        has_work=True,
        root_entry_stale=sql.case((columns.page_on_disk.is_(True), True)),
    )


@statement
def _set_files_gone(cause: Cause) -> sql.Update:
    columns = tables.files.c
    theirs = sql.update(tables.files).where(among(columns.project_id), _has_other(columns, cause))
    return theirs.values(removal_cause=files_gone(cause))


def _has_other(columns: Any, cause: Cause) -> sql.ColumnElement[bool]:
    """Return the condition that a row is offered, or gone by another cause."""
    return sql.or_(columns.removal_cause.is_(None), columns.removal_cause != cause)


def files_gone(cause: Cause | None) -> sql.ColumnElement[Any] | Cause | None:
    """Return the cause to store for files that leave by `cause`. It depends on their old cause.

    A withheld file is on no page. Its new cause must show that it is a loss when the upstream drops
    it.
    """
    if cause not in (Cause.UPSTREAM, Cause.CLAIMS):
        return cause
    was_withheld = sql.and_(is_withheld(), tables.files.c.withdrawn_at.is_not(None))
    return sql.case((was_withheld, Cause.DROPPED), else_=cause)


def is_withheld() -> sql.ColumnElement[bool]:
    """Return the condition that a file has a cause for which its bytes stay although it is on no
    page.
    """
    causes = [sql.literal(cause.value) for cause in (Cause.QUARANTINE, Cause.DROPPED)]
    return tables.files.c.removal_cause.in_(causes)
