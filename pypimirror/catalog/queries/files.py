"""Queries on files. Every change of a state goes through `move`, which notes the run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Update,
    and_,
    bindparam,
    func,
    literal_column,
    null,
    or_,
    select,
    update,
)

from pypimirror.catalog import bulk
from pypimirror.catalog.mapping import mapper, prepared
from pypimirror.catalog.mapping.addresses import shortened
from pypimirror.catalog.mapping.prepared import among, statement
from pypimirror.catalog.queries.closure import closed
from pypimirror.catalog.queries.projects import CHUNK, is_due, is_in, lacks_provenance
from pypimirror.catalog.records import FileRecord, NamedFile, ProjectFile
from pypimirror.catalog.schema import files, projects
from pypimirror.catalog.states import (
    DUE,
    LONGEST_WAIT,
    OPEN,
    PROVEN,
    IllegalMoveError,
    State,
    sources,
)


def of_projects(connection: Connection, ids: Sequence[int]) -> list[FileRecord]:
    """Return all files of these projects."""
    return mapper.read_all(connection, _of_projects(), FileRecord, {"ids": ids})


@statement
def _of_projects() -> Select[Any]:
    query = select(files).where(among(files.c.project_id))
    return query.order_by(files.c.project_id, files.c.filename)


def with_project() -> Select[Any]:
    """Return a query for files with the fields of `ProjectFile`."""
    others = {"project": projects.c.name, "upstream": projects.c.upstream}
    return mapper.select_record(ProjectFile, files, **others).join_from(files, projects)


def get(connection: Connection, file_id: int) -> FileRecord | None:
    """Return one file, or None."""
    return mapper.first(connection, select(files).where(files.c.id == file_id), FileRecord)


def states_of(connection: Connection, ids: Sequence[int]) -> dict[int, int]:
    """Return the states of these files by id."""
    query = select(files.c.id, files.c.state).where(files.c.id.in_(ids))
    return {row[0]: row[1] for row in connection.execute(query)}


def in_states(
    connection: Connection, ids: Sequence[int], states: Iterable[State]
) -> list[ProjectFile]:
    """Return the offered files of these projects that are in one of `states`."""
    return mapper.read_all(connection, _in_states(frozenset(states)), ProjectFile, {"ids": ids})


@statement
def _in_states(states: frozenset[State]) -> Select[Any]:
    query = with_project().where(
        among(files.c.project_id), is_in(states), files.c.removal_cause.is_(None)
    )
    return query.order_by(files.c.project_id, files.c.filename)


def with_projects(connection: Connection, ids: Sequence[int]) -> list[ProjectFile]:
    """Return all files of these projects."""
    return mapper.read_all(connection, _with_projects(), ProjectFile, {"ids": ids})


@statement
def _with_projects() -> Select[Any]:
    query = with_project().where(among(files.c.project_id))
    return query.order_by(files.c.project_id, files.c.filename)


def due(connection: Connection, ids: Sequence[int], now: float | None) -> list[ProjectFile]:
    """Return the files of these projects that must be fetched. With `now`, waiting files are left
    out.
    """
    return [row for row in with_projects(connection, ids) if is_due_at(row, now)]


def is_due_at(row: FileRecord, now: float | None) -> bool:
    """Whether a file must be fetched. With `now`, this is False while it waits for its next try."""
    is_due = row.state in DUE and row.removal_cause is None
    return is_due and (now is None or not _waits_at(row.next_try, now))


def _is_missed() -> ColumnElement[bool]:
    """Return the condition that the bytes or the attestations of a file must be fetched."""
    return or_(files.c.state.in_(list(DUE)), lacks_provenance())


def _waits_at(next_try: float | None, now: float) -> bool:
    """Whether a row waits at this time: the opposite of `projects.is_due` in SQL."""
    return next_try is not None and now < next_try <= now + LONGEST_WAIT


def unattested(connection: Connection, ids: Sequence[int], now: float | None) -> list[ProjectFile]:
    """Return the files of these projects whose attestations must be fetched; see `due`."""
    found = mapper.read_all(connection, _unattested(), ProjectFile, {"ids": ids})
    return found if now is None else [row for row in found if not _waits_at(row.next_try, now)]


@statement
def _unattested() -> Select[Any]:
    query = with_project().where(
        among(files.c.project_id), lacks_provenance(), files.c.removal_cause.is_(None)
    )
    return query.order_by(files.c.project_id, files.c.filename)


def wake_unattested(connection: Connection) -> None:
    """Mark the projects of files whose attestations are missing."""
    query = select(files.c.project_id).where(lacks_provenance(), files.c.removal_cause.is_(None))
    statement = update(projects).where(projects.c.id.in_(query), projects.c.has_work.is_(False))
    connection.execute(statement.values(has_work=True))


def wake(connection: Connection, now: float | None) -> None:
    """Mark the projects of files whose next try is due; without `now`, of all waiting files."""
    query = select(files.c.project_id).where(
        files.c.next_try.is_not(None), _is_missed(), files.c.removal_cause.is_(None)
    )
    if now is not None:
        query = query.where(is_due(now))
    statement = update(projects).where(projects.c.id.in_(query), projects.c.has_work.is_(False))
    connection.execute(statement.values(has_work=True))


def wait_no_more(connection: Connection) -> None:
    """Let the next run try every file again."""
    wake(connection, None)
    waiting = update(files).where(files.c.next_try.is_not(None))
    connection.execute(waiting.values(next_try=None))


def waiting(
    connection: Connection, now: float, names: Sequence[str] | None
) -> Iterator[ProjectFile]:
    """Stream the files whose next try is not due yet, of all projects or of `names`."""
    query = (
        with_project()
        .where(
            files.c.next_try > now,
            files.c.next_try <= now + LONGEST_WAIT,
            _is_missed(),
            files.c.removal_cause.is_(None),
        )
        .order_by(files.c.id)
    )
    if names is not None:
        query = query.where(projects.c.name.in_(names))
    yield from mapper.read(connection, query.execution_options(yield_per=CHUNK), ProjectFile)


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
    # Earlier failures no longer count: the bytes were here, or are no longer to be fetched.
    is_anew = target in (State.WANTED, State.LINKED)
    clean = dict.fromkeys(_OF_TRIES if is_anew else ())
    if len(rows[0]) > 1:
        full = [{**row, **clean, "run_id": run_id} for row in rows]
        moved = bulk.move_rows(connection, "files", full, target, sources(target))
    else:
        values = {"ids": [row["id"] for row in rows], "run": run_id}
        moved = prepared.execute(connection, _move(target, is_anew=is_anew), values)
    if moved != len(rows):
        raise IllegalMoveError(
            f"{len(rows) - moved} of {len(rows)} files may not become {target.label}"
        )


@statement
def _move(target: State, *, is_anew: bool) -> Update:
    clean = dict.fromkeys(_OF_TRIES if is_anew else (), null())
    values = {"state": literal_column(str(int(target))), "run_id": bindparam("run"), **clean}
    return update(files).where(among(files.c.id), is_in(sources(target))).values(values)


def publish(connection: Connection, ids: Sequence[int], run_id: int) -> None:
    """Move the verified files of projects whose pages now list them."""
    prepared.execute(connection, _publish(), {"ids": ids, "run": run_id})


@statement
def _publish() -> Update:
    verified = update(files).where(among(files.c.project_id), is_in(sources(State.PUBLISHED)))
    return verified.values(state=State.PUBLISHED, run_id=bindparam("run"))


def is_listed() -> ColumnElement[bool]:
    """Return the condition that a file belongs on its page, with its own bytes or as a link."""
    own = is_in(PROVEN)
    return or_(own, and_(files.c.linked.is_(True), files.c.state != State.WITHDRAWN))


def listed(connection: Connection, ids: Sequence[int]) -> list[FileRecord]:
    """Return the files that belong on the pages of these projects."""
    return mapper.read_all(connection, _listed(), FileRecord, {"ids": ids})


@statement
def _listed() -> Select[Any]:
    query = select(files).where(among(files.c.project_id), is_listed())
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
    query = (
        with_project()
        .where(
            files.c.id > after,
            files.c.state.in_(list(states)),
            files.c.size >= lower,
            files.c.linked.is_(None),
            or_(files.c.state != State.WITHDRAWN, files.c.withdrawn_at.is_not(None)),
        )
        .order_by(files.c.id)
        .limit(limit)
    )
    if upper is not None:
        query = query.where(files.c.size < upper)
    if before is not None:
        query = query.where(files.c.proven_at < before)
    return list(mapper.read(connection, query, ProjectFile))


def named(connection: Connection, wanted: Mapping[str, Iterable[str]]) -> list[NamedFile]:
    """Return the files with these names in the given projects."""
    query = (
        mapper.select_record(NamedFile, files, project=projects.c.name)
        .join_from(files, projects)
        .where(
            projects.c.name.in_({name for names in wanted.values() for name in names}),
            files.c.filename.in_(list(wanted)),
        )
    )
    return list(mapper.read(connection, query, NamedFile))


def proven_names(connection: Connection, names: Sequence[str]) -> set[tuple[str, str]]:
    """Return project and name of all proven files of these projects."""
    query = (
        select(projects.c.name, files.c.filename)
        .join(projects)
        .where(projects.c.name.in_(names), files.c.state.in_(list(PROVEN)))
    )
    return {(row[0], row[1]) for row in connection.execute(query)}


def unattested_names(connection: Connection, names: Sequence[str]) -> set[tuple[str, str]]:
    """Return project and name of all files of these projects whose attestations are missing."""
    query = (
        select(projects.c.name, files.c.filename)
        .join(projects)
        .where(projects.c.name.in_(names), lacks_provenance())
    )
    return {(row[0], row[1]) for row in connection.execute(query)}


def proven_by(connection: Connection, run_id: int, started_at: float) -> Iterator[ProjectFile]:
    """Stream the files that a run proved or published, with their current proof.

    A file that a later run proves again counts for that run too. A file that a later run moves
    counts only for that run.
    """
    moved = (files.c.run_id == run_id) & files.c.state.in_(list(PROVEN))
    query = (
        with_project()
        .where(files.c.proof.is_not(None), or_(moved, files.c.proven_at == started_at))
        .order_by(files.c.id)
    )
    yield from mapper.read(connection, query.execution_options(yield_per=CHUNK), ProjectFile)


def weaker(connection: Connection, weakest: int, after: int) -> list[tuple[int, int]]:
    """Return id and project id of proven files whose proof is weaker than `weakest`.

    Released files are left out. The result is the next chunk in the order of ids, after id `after`.
    """
    query = select(files.c.id, files.c.project_id).where(
        files.c.id > after,
        files.c.state.in_(list(PROVEN)),
        files.c.proof > weakest,
        files.c.released.is_distinct_from(files.c.sha256),
    )
    found = connection.execute(query.order_by(files.c.id).limit(CHUNK))
    return [(file_id, project_id) for file_id, project_id in found]


def fetched_as(connection: Connection, filename: str) -> list[FileRecord]:
    """Return the files with this name, in any project, whose bytes are fetched and not yet
    proven.
    """
    query = select(files).where(files.c.state == State.FETCHED, files.c.filename == filename)
    return list(mapper.read(connection, query, FileRecord))


def quarantined_as(connection: Connection, filename: str) -> FileRecord | None:
    """Return a file with this name, in any project, whose bytes are in quarantine."""
    query = select(files).where(files.c.state == State.QUARANTINED, files.c.filename == filename)
    return next(iter(mapper.read(connection, query, FileRecord)), None)


def count_released(connection: Connection) -> int:
    """Return how many files are mirrored only because the operator released their bytes."""
    query = select(func.count()).where(
        files.c.released.is_not(None),
        files.c.released == files.c.sha256,
        files.c.state.in_(list(PROVEN)),
    )
    return int(connection.execute(query).scalar_one())


def open_names(connection: Connection, names: Sequence[str]) -> set[tuple[str, str]]:
    """Return project and name of all files of these projects that have work to do."""
    is_open = or_(files.c.state.in_(list(OPEN)), lacks_provenance())
    query = (
        select(projects.c.name, files.c.filename)
        .join(projects)
        .where(projects.c.name.in_(names), is_open, files.c.removal_cause.is_(None))
    )
    return {(row[0], row[1]) for row in connection.execute(query)}
