"""Queries on files. Every change of a state goes through `move`, which notes the run.

`queries.work.tries` has those on files that are due, or that wait for their next try.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pypimirror.catalog import bulk
from pypimirror.catalog.mapping import mapper, prepared, sql, tables
from pypimirror.catalog.mapping.addresses import shortened
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.prepared import Statement, among, statement
from pypimirror.catalog.queries.closure import closed
from pypimirror.catalog.queries.projects import CHUNK, is_in, lacks_provenance
from pypimirror.catalog.records import FileRecord, NamedFile, ProjectFile
from pypimirror.catalog.states import OPEN, PROVEN, IllegalMoveError, State, sources


def of_projects(connection: Connection, ids: Sequence[int]) -> list[FileRecord]:
    """Return all files of these projects."""
    return mapper.read_all(connection, _of_projects(), FileRecord, {"ids": ids})


@statement
def _of_projects() -> sql.Select[Any]:
    files = tables.files
    query = sql.select(files).where(among(files.c.project_id))
    return query.order_by(files.c.project_id, files.c.filename)


def with_project() -> sql.Select[Any]:
    """Return a query for files with the fields of `ProjectFile`."""
    files, projects = tables.files, tables.projects
    others = {"project": projects.c.name, "upstream": projects.c.upstream}
    return mapper.select_record(ProjectFile, files, **others).join_from(files, projects)


def get(connection: Connection, file_id: int) -> FileRecord | None:
    """Return one file, or None."""
    return mapper.read_first(connection, _get(), FileRecord, {"file_id": file_id})


@statement
def _get() -> sql.Select[Any]:
    return sql.select(tables.files).where(tables.files.c.id == sql.bindparam("file_id"))


def states_of(connection: Connection, ids: Sequence[int]) -> dict[int, int]:
    """Return the states of these files by id."""
    return {row[0]: row[1] for row in prepared.rows(connection, _states_of(), {"ids": ids})}


@statement
def _states_of() -> sql.Select[Any]:
    files = tables.files
    return sql.select(files.c.id, files.c.state).where(among(files.c.id))


def in_states(
    connection: Connection, ids: Sequence[int], states: Iterable[State]
) -> list[ProjectFile]:
    """Return the offered files of these projects that are in one of `states`."""
    values = {"ids": ids, "states": [*map(int, states)]}
    return mapper.read_all(connection, _in_states(), ProjectFile, values)


@statement
def _in_states() -> sql.Select[Any]:
    files = tables.files
    query = with_project().where(
        among(files.c.project_id), among(files.c.state, "states"), files.c.removal_cause.is_(None)
    )
    return query.order_by(files.c.project_id, files.c.filename)


def with_projects(connection: Connection, ids: Sequence[int]) -> list[ProjectFile]:
    """Return all files of these projects."""
    return mapper.read_all(connection, _with_projects(), ProjectFile, {"ids": ids})


@statement
def _with_projects() -> sql.Select[Any]:
    files = tables.files
    query = with_project().where(among(files.c.project_id))
    return query.order_by(files.c.project_id, files.c.filename)


def add(connection: Connection, rows: Sequence[Mapping[str, Any]], run_id: int) -> None:
    """Add files: wanted ones, or those that pages link to at the upstream."""
    states = {True: int(State.LINKED), False: int(State.WANTED)}
    found = [
        {
            **row,
            "run_id": run_id,
            "state": states[bool(row.get("linked"))],
            "url": shortened(row),
        }
        for row in rows
    ]
    bulk.insert_rows(connection, "files", found)
    closed.open_again(connection)


#: The columns about tries that failed.
_OF_TRIES = ("attempts", "next_try", "last_error")

#: The columns of a withdrawn file after its bytes and sidecars were removed.
REMOVED = {"withdrawn_at": None, "metadata_sha256": None, "provenance_sha256": None}


def change(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    """Set columns by id, except the state."""
    bulk.update_rows(connection, "files", rows)


def move(
    connection: Connection,
    target: State,
    rows: Sequence[Mapping[str, Any]],
    run_id: int,
) -> None:
    """Move files to the state `target`, and set the other columns of the rows. "id" names the file.

    All rows have the same columns. If the move is not allowed for one file, raises
    `IllegalMoveError` and moves none.
    """
    if not rows:
        return
    closed.open_again(connection)
    if len(rows[0]) > 1:
        clean = dict.fromkeys(_cleaned(target))
        full = [{**row, **clean, "run_id": run_id} for row in rows]
        moved = bulk.move_rows(connection, "files", full, target, sources(target))
    else:
        values = {"ids": [row["id"] for row in rows], "run": run_id}
        moved = prepared.execute(connection, _move(target), values)
    if moved != len(rows):
        raise IllegalMoveError(
            f"{len(rows) - moved} of {len(rows)} files may not become {target.label}"
        )


def _cleaned(target: State) -> Sequence[str]:
    """Return the columns that become NULL when a file moves to a state.

    Earlier failures no longer count: the bytes were here, or are no longer to be fetched.
    """
    return _OF_TRIES if target in (State.WANTED, State.LINKED) else ()


@statement
def _move(target: State) -> sql.Update:
    files = tables.files
    values = {
        "state": sql.literal_column(str(int(target))),
        "run_id": sql.bindparam("run"),
        **dict.fromkeys(_cleaned(target), sql.null()),
    }
    return sql.update(files).where(among(files.c.id), is_in(sources(target))).values(values)


def publish(connection: Connection, ids: Sequence[int], run_id: int) -> None:
    """Move the verified files of projects whose pages now list them."""
    prepared.execute(connection, _publish(), {"ids": ids, "run": run_id})


@statement
def _publish() -> sql.Update:
    files = tables.files
    verified = among(files.c.project_id), is_in(sources(State.PUBLISHED))
    values = {"state": State.PUBLISHED, "run_id": sql.bindparam("run")}
    return sql.update(files).where(*verified).values(values)


def is_listed() -> sql.ColumnElement[bool]:
    """Return the condition that a file belongs on its page, with its own bytes or as a link."""
    columns = tables.files.c
    is_linked = sql.and_(columns.linked.is_(True), columns.state != State.WITHDRAWN)
    return sql.or_(is_in(PROVEN), is_linked)


def listed(connection: Connection, ids: Sequence[int]) -> list[FileRecord]:
    """Return the files that belong on the pages of these projects."""
    return mapper.read_all(connection, _listed(), FileRecord, {"ids": ids})


@statement
def _listed() -> sql.Select[Any]:
    files = tables.files
    query = sql.select(files).where(among(files.c.project_id), is_listed())
    return query.order_by(files.c.project_id, files.c.filename)


def held(
    connection: Connection,
    states: Iterable[State],
    lower: int,
    upper: int | None,
    after: int,
    before: float | None,
    limit: int,
) -> list[ProjectFile]:
    """Return files with bytes here and a size from `lower` to `upper`, in the order of their ids.

    Their ids are greater than `after`. With `before`, only files that were last proven right before
    that time.
    """
    query = _held(is_bounded=upper is not None, is_old=before is not None)
    values: dict[str, Any] = {"lower": lower, "upper": upper, "after": after, "before": before}
    values |= {"states": [*map(int, states)], "limit": limit}
    return mapper.read_all(connection, query, ProjectFile, values)


@statement
def _held(*, is_bounded: bool, is_old: bool) -> sql.Select[Any]:
    columns = tables.files.c
    query = with_project().where(
        columns.id > sql.bindparam("after"),
        among(columns.state, "states"),
        columns.size >= sql.bindparam("lower"),
        columns.linked.is_(None),
        sql.or_(columns.state != State.WITHDRAWN, columns.withdrawn_at.is_not(None)),
    )
    if is_bounded:
        query = query.where(columns.size < sql.bindparam("upper"))
    if is_old:
        query = query.where(columns.proven_at < sql.bindparam("before"))
    return query.order_by(columns.id).limit(sql.bindparam("limit", type_=sql.Integer))


def named(connection: Connection, wanted: Mapping[str, Iterable[str]]) -> list[NamedFile]:
    """Return the files with these names in the given projects."""
    projects = {name for names in wanted.values() for name in names}
    values = {"names": projects, "filenames": wanted}
    return mapper.read_all(connection, _named(), NamedFile, values)


@statement
def _named() -> sql.Select[Any]:
    files, projects = tables.files, tables.projects
    return (
        mapper.select_record(NamedFile, files, project=projects.c.name)
        .join_from(files, projects)
        .where(among(projects.c.name, "names"), among(files.c.filename, "filenames"))
    )


def proven_names(connection: Connection, names: Sequence[str]) -> set[tuple[str, str]]:
    """Return project and name of all proven files of these projects."""
    return _pairs(connection, _proven_names(), names)


@statement
def _proven_names() -> sql.Select[Any]:
    return _names().where(is_in(PROVEN))


def unattested_names(connection: Connection, names: Sequence[str]) -> set[tuple[str, str]]:
    """Return project and name of all files of these projects whose attestations are missing."""
    return _pairs(connection, _unattested_names(), names)


@statement
def _unattested_names() -> sql.Select[Any]:
    return _names().where(lacks_provenance())


def open_names(connection: Connection, names: Sequence[str]) -> set[tuple[str, str]]:
    """Return project and name of all files of these projects that have work to do."""
    return _pairs(connection, _open_names(), names)


@statement
def _open_names() -> sql.Select[Any]:
    is_open = sql.or_(is_in(OPEN), lacks_provenance())
    return _names().where(is_open, tables.files.c.removal_cause.is_(None))


def _names() -> sql.Select[Any]:
    """Return a query for project and name of the files of the projects in `names`."""
    files, projects = tables.files, tables.projects
    query = sql.select(projects.c.name, files.c.filename).join_from(files, projects)
    return query.where(among(projects.c.name, "names"))


def _pairs(connection: Connection, query: Statement, names: Sequence[str]) -> set[tuple[str, str]]:
    return {(row[0], row[1]) for row in prepared.rows(connection, query, {"names": names})}


def proven_by(connection: Connection, run_id: int, started_at: float) -> Iterator[ProjectFile]:
    """Stream the files that a run proved or published, with their current proof.

    A file that a later run proves again counts for that run too. A file that a later run moves
    counts only for that run.
    """
    values = {"run": run_id, "started_at": started_at}
    return mapper.stream(connection, _proven_by(), ProjectFile, values)


@statement
def _proven_by() -> sql.Select[Any]:
    columns = tables.files.c
    is_moved = sql.and_(columns.run_id == sql.bindparam("run"), is_in(PROVEN))
    is_proven = columns.proven_at == sql.bindparam("started_at")
    query = with_project().where(columns.proof.is_not(None), sql.or_(is_moved, is_proven))
    return query.order_by(columns.id)


def weaker(connection: Connection, weakest: int, after: int) -> list[tuple[int, int]]:
    """Return id and project id of proven files whose proof is weaker than `weakest`.

    Released files are left out. The result is the next chunk in the order of ids, after id `after`.
    """
    values = {"weakest": weakest, "after": after, "limit": CHUNK}
    return [(row[0], row[1]) for row in prepared.rows(connection, _weaker(), values)]


@statement
def _weaker() -> sql.Select[Any]:
    columns = tables.files.c
    query = sql.select(columns.id, columns.project_id).where(
        columns.id > sql.bindparam("after"),
        is_in(PROVEN),
        columns.proof > sql.bindparam("weakest"),
        columns.released.is_distinct_from(columns.sha256),
    )
    return query.order_by(columns.id).limit(sql.bindparam("limit", type_=sql.Integer))


def fetched_as(connection: Connection, filename: str) -> list[FileRecord]:
    """Return the files with this name, in any project, whose bytes are fetched and not yet
    proven.
    """
    values = {"state": int(State.FETCHED), "name": filename}
    return mapper.read_all(connection, _in_state(), FileRecord, values)


def quarantined_as(connection: Connection, filename: str) -> FileRecord | None:
    """Return a file with this name, in any project, whose bytes are in quarantine."""
    values = {"state": int(State.QUARANTINED), "name": filename}
    return mapper.read_first(connection, _in_state(), FileRecord, values)


@statement
def _in_state() -> sql.Select[Any]:
    files = tables.files
    is_it = files.c.filename == sql.bindparam("name")
    return sql.select(files).where(files.c.state == sql.bindparam("state"), is_it)


def count_released(connection: Connection) -> int:
    """Return how many files are mirrored only because the operator released their bytes."""
    return int(prepared.value(connection, _count_released(), {}))


@statement
def _count_released() -> sql.Select[Any]:
    columns = tables.files.c
    return sql.select(sql.func.count()).where(
        columns.released.is_not(None), columns.released == columns.sha256, is_in(PROVEN)
    )
