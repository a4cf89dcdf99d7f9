"""Queries on claims: which worker has which project.

A project with work to do is free if it has no row in `claims`. So each query follows the index of
projects with work, and looks up each of them by the key of `claims`. A row stays until the run
ends, so nothing is claimed twice.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from pypimirror.catalog.mapping import prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.inserts import insert_for
from pypimirror.catalog.mapping.prepared import among, statement
from pypimirror.catalog.queries.work import workers
from pypimirror.catalog.states import REQUEST, WORKING
from pypimirror.domain.model import ProjectName


def is_free() -> sql.ColumnElement[bool]:
    """Return the condition that no worker has claimed a project."""
    # A scalar subquery: PostgreSQL would turn NOT EXISTS into a join that reads all claims.
    claims = tables.claims
    claim = sql.select(claims.c.project_id).where(claims.c.project_id == tables.projects.c.id)
    return claim.scalar_subquery().is_(None)


def _is_free_with_work(*, named: bool) -> sql.ColumnElement[bool]:
    """Return the condition of free projects after id `after`; if `named`, only among `names`.

    `after` and `names` are parameters of the statement.
    """
    projects = tables.projects
    after = projects.c.id > sql.bindparam("after")
    condition = sql.and_(projects.c.has_work.is_(True), after, is_free())
    return sql.and_(condition, among(projects.c.name, "names")) if named else condition


def take(
    connection: Connection,
    worker_id: int,
    batch: int,
    after: int,
    size: int,
    names: Sequence[ProjectName] | None,
) -> list[int]:
    """Claim up to `size` free projects after id `after`, and return their ids, in order.

    They are the first ones. With names, they are found by name.
    """
    values: dict[str, Any]
    values = {"worker": worker_id, "number": batch, "after": after, "size": size}
    if names is not None:
        values["names"] = names
    claim = _claim(connection.dialect.name, named=names is not None)
    while True:
        if ids := sorted(row[0] for row in prepared.rows(connection, claim, values)):
            return ids
        if connection.dialect.name == "sqlite":  # nobody else writes
            return []
        # Another transaction may have claimed them after this one began to look.
        left = _still_free(named=names is not None)
        if not prepared.rows(connection, left, {**values, "size": 1}):
            return []


@statement
def _claim(dialect: str, *, named: bool) -> sql.Insert:
    return claiming(dialect, _chosen(named=named))


@statement
def _still_free(*, named: bool) -> sql.Select[Any]:
    return _chosen(named=named)


def _chosen(*, named: bool) -> sql.Select[Any]:
    query = for_worker(_is_free_with_work(named=named))
    query = query.limit(sql.bindparam("size", type_=sql.Integer))
    return query if named else query.order_by(tables.projects.c.id)


def for_worker(condition: sql.ColumnElement[bool]) -> sql.Select[Any]:
    """Return a query for the claims of the worker `worker` in its batch `number` on projects.

    Projects that another transaction claims at this moment are left out.
    """
    projects = tables.projects
    worker = sql.bindparam("worker", type_=tables.KEY)
    number = sql.bindparam("number", type_=sql.Integer)
    query = sql.select(projects.c.id, worker, number, sql.false()).where(condition)
    return query.with_for_update(of=projects, key_share=True, skip_locked=True)


def claiming(dialect: str, chosen: sql.Select[Any]) -> sql.Insert:
    """Return the statement that makes the claims of a query of `for_worker`, and returns the
    projects.
    """
    claims = tables.claims
    columns = [column.name for column in claims.columns]
    made = insert_for(dialect, claims).from_select(columns, chosen).on_conflict_do_nothing()
    found: sql.Insert = made.returning(claims.c.project_id)
    return found


def of_batch(connection: Connection, worker_id: int, batch: int) -> list[int]:
    """Return the projects of a batch that a worker has claimed, in order."""
    values = {"worker": worker_id, "number": batch}
    return [row[0] for row in prepared.rows(connection, _of_batch(), values)]


def _is_of_batch() -> sql.ColumnElement[bool]:
    claims = tables.claims
    return sql.and_(
        claims.c.worker_id == sql.bindparam("worker"), claims.c.batch == sql.bindparam("number")
    )


@statement
def _of_batch() -> sql.Select[Any]:
    claims = tables.claims
    query = sql.select(claims.c.project_id).where(_is_of_batch(), claims.c.done.is_(False))
    return query.order_by(claims.c.project_id)


def number_free(
    connection: Connection, after: int, at_most: int, names: Sequence[ProjectName] | None
) -> int:
    """Return the number of free projects after id `after`, or `at_most` if there are more."""
    values: dict[str, Any] = {"after": after, "size": at_most}
    if names is not None:
        values["names"] = names
    return int(prepared.value(connection, _number_free(named=names is not None), values))


@statement
def _number_free(*, named: bool) -> sql.Select[Any]:
    some = sql.select(tables.projects.c.id).where(_is_free_with_work(named=named))
    some = some.limit(sql.bindparam("size", type_=sql.Integer))
    return sql.select(sql.func.count()).select_from(some.subquery())


def is_any_left(connection: Connection) -> bool:
    """Whether any project has work that no worker has finished in this run.

    Each of the two questions takes one look at an index.
    """
    return bool(number_free(connection, 0, 1, None) or prepared.rows(connection, _in_hand(), {}))


@statement
def _in_hand() -> sql.Select[Any]:
    claims, workers = tables.claims, tables.workers
    # By the key of `workers`, which has a row for each worker of each run in the history.
    executor = sql.select(workers.c.executor).where(workers.c.id == claims.c.worker_id)
    of_a_run = executor.scalar_subquery().is_distinct_from(REQUEST)
    return sql.select(claims.c.project_id).where(claims.c.done.is_(False), of_a_run).limit(1)


def release(connection: Connection, worker_id: int, batch: int) -> None:
    """Mark a batch as done for this run. Another run does the work that is left."""
    prepared.execute(connection, _release(), {"worker": worker_id, "number": batch})


@statement
def _release() -> sql.Update:
    return sql.update(tables.claims).where(_is_of_batch()).values(done=True)


def drop(connection: Connection, worker_ids: Sequence[int]) -> None:
    """Free the projects that these workers have claimed and not finished."""
    prepared.execute(connection, _drop(), {"ids": worker_ids})


@statement
def _drop() -> sql.Delete:
    claims = tables.claims
    return sql.delete(claims).where(among(claims.c.worker_id), claims.c.done.is_(False))


def reopen(connection: Connection, ids: Sequence[int]) -> None:
    """Free projects that were done for this run, because they have more work."""
    prepared.execute(connection, _reopen(only_done=False), {"ids": ids})


def reopen_done(connection: Connection, ids: Collection[int]) -> None:
    """Free those of these projects that are done for this run. Nobody has them in hand."""
    prepared.execute(connection, _reopen(only_done=True), {"ids": ids})


@statement
def _reopen(*, only_done: bool) -> sql.Delete:
    claims = tables.claims
    these = sql.delete(claims).where(among(claims.c.project_id))
    return these.where(claims.c.done.is_(True)) if only_done else these


def reopen_all(connection: Connection) -> None:
    """Free all projects, except those of request workers. Call it while no other worker works."""
    prepared.execute(connection, _reopen_all(), {})


@statement
def _reopen_all() -> sql.Delete:
    claims, workers = tables.claims, tables.workers
    of_requests = sql.select(workers.c.id).where(
        workers.c.executor == REQUEST, workers.c.state == WORKING
    )
    return sql.delete(claims).where(claims.c.worker_id.not_in(of_requests))


def end_run(connection: Connection, run_id: int, message: str) -> None:
    """End a run for its workers: those that still work are lost, and their claims are deleted.

    There is one run at a time, so all other claims are those of request workers.
    """
    workers.close(connection, run_id, message)
    reopen_all(connection)
