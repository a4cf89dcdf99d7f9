"""Queries on claims: which worker has which project.

A project with work to do is free if it has no row in `claims`. So each query follows the index of
projects with work, and looks up each of them by the key of `claims`. A row stays until the run
ends, so nothing is claimed twice.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    Integer,
    Select,
    Update,
    and_,
    bindparam,
    delete,
    false,
    func,
    insert,
    select,
    update,
)

from pypimirror.catalog.mapping import prepared
from pypimirror.catalog.mapping.inserts import insert_or_ignore
from pypimirror.catalog.mapping.prepared import among, statement
from pypimirror.catalog.queries.projects import chunks
from pypimirror.catalog.queries.work import workers
from pypimirror.catalog.records import KEY
from pypimirror.catalog.schema import claims, projects
from pypimirror.catalog.schema import workers as workers_table
from pypimirror.catalog.states import REQUEST, WORKING
from pypimirror.domain.model import ProjectName

# A scalar subquery: PostgreSQL would turn NOT EXISTS into a join that reads all claims.
_claim = select(claims.c.project_id).where(claims.c.project_id == projects.c.id)
is_free = _claim.scalar_subquery().is_(None)
_has_work = projects.c.has_work.is_(True)
_of_requests = select(workers_table.c.id).where(
    workers_table.c.executor == REQUEST, workers_table.c.state == WORKING
)
_of_runs = claims.c.worker_id.not_in(_of_requests)


def _free(*, named: bool) -> ColumnElement[bool]:
    """Return the condition of free projects after id `after`; if `named`, only among `names`.

    `after` and `names` are parameters of the statement.
    """
    condition = and_(_has_work, projects.c.id > bindparam("after"), is_free)
    return and_(condition, among(projects.c.name, "names")) if named else condition


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
    if connection.dialect.name == "sqlite":  # nobody else writes
        if not prepared.execute(connection, _claim_them(named=names is not None), values):
            return []
        return of_batch(connection, worker_id, batch)
    chosen = _chosen(named=names is not None)
    statement = insert_or_ignore(connection, claims).from_select(_COLUMNS, chosen)
    while True:
        if ids := sorted(connection.scalars(statement.returning(claims.c.project_id), values)):
            return ids
        # Another transaction may have claimed them after this one began to look.
        if not connection.execute(chosen, {**values, "size": 1}).first():
            return []


_COLUMNS = ["project_id", "worker_id", "batch", "done"]


@statement
def _claim_them(*, named: bool) -> Insert:
    return insert(claims).from_select(_COLUMNS, _chosen(named=named))


@cache
def _chosen(*, named: bool) -> Select[Any]:
    mine = [bindparam("worker", type_=KEY), bindparam("number", type_=Integer), false()]
    query = select(projects.c.id, *mine).where(_free(named=named))
    # Leave out the projects that another transaction claims at this moment.
    query = query.with_for_update(of=projects, key_share=True, skip_locked=True)
    query = query.limit(bindparam("size", type_=Integer))
    return query if named else query.order_by(projects.c.id)


def of_batch(connection: Connection, worker_id: int, batch: int) -> list[int]:
    """Return the projects of a batch that a worker has claimed, in order."""
    values = {"worker": worker_id, "number": batch}
    return [row[0] for row in prepared.rows(connection, _of_batch(), values)]


def _is_of_batch() -> ColumnElement[bool]:
    return and_(claims.c.worker_id == bindparam("worker"), claims.c.batch == bindparam("number"))


@statement
def _of_batch() -> Select[Any]:
    query = select(claims.c.project_id).where(_is_of_batch(), claims.c.done.is_(False))
    return query.order_by(claims.c.project_id)


def number_free(
    connection: Connection, after: int, at_most: int, names: Sequence[ProjectName] | None
) -> int:
    """Return the number of free projects after id `after`, or `at_most` if there are more."""
    values: dict[str, Any] = {"after": after, "size": at_most}
    if names is not None:
        values["names"] = names
    ((number,),) = prepared.rows(connection, _number_free(named=names is not None), values)
    return int(number)


@statement
def _number_free(*, named: bool) -> Select[Any]:
    some = select(projects.c.id).where(_free(named=named)).limit(bindparam("size", type_=Integer))
    return select(func.count()).select_from(some.subquery())


def is_any_left(connection: Connection) -> bool:
    """Whether any project has work that no worker has finished in this run.

    Each of the two questions takes one look at an index.
    """
    if number_free(connection, 0, 1, None):
        return True
    # By the key of `workers`, which has a row for each worker of each run in the history.
    executor = select(workers_table.c.executor).where(workers_table.c.id == claims.c.worker_id)
    of_a_run = executor.scalar_subquery().is_distinct_from(REQUEST)
    in_hand = select(claims.c.project_id).where(claims.c.done.is_(False), of_a_run)
    return connection.execute(in_hand.limit(1)).first() is not None


def release(connection: Connection, worker_id: int, batch: int) -> None:
    """Mark a batch as done for this run. Another run does the work that is left."""
    prepared.execute(connection, _release(), {"worker": worker_id, "number": batch})


@statement
def _release() -> Update:
    return update(claims).where(_is_of_batch()).values(done=True)


def drop(connection: Connection, worker_ids: Sequence[int]) -> None:
    """Free the projects that these workers have claimed and not finished."""
    theirs = claims.c.worker_id.in_(worker_ids)
    connection.execute(delete(claims).where(theirs, claims.c.done.is_(False)))


def reopen(connection: Connection, ids: Sequence[int]) -> None:
    """Free projects that were done for this run, because they have more work."""
    for chunk in chunks(ids):
        connection.execute(delete(claims).where(claims.c.project_id.in_(chunk)))


def reopen_done(connection: Connection, ids: Collection[int]) -> None:
    """Free those of these projects that are done for this run. Nobody has them in hand."""
    for chunk in chunks(ids):
        these = claims.c.project_id.in_(chunk)
        connection.execute(delete(claims).where(these, claims.c.done.is_(True)))


def reopen_all(connection: Connection) -> None:
    """Free all projects, except those of request workers. Call it while no other worker works."""
    connection.execute(delete(claims).where(_of_runs))


def end_run(connection: Connection, run_id: int, message: str) -> None:
    """End a run for its workers: those that still work are lost, and their claims are deleted.

    There is one run at a time, so all other claims are those of request workers.
    """
    workers.close(connection, run_id, message)
    reopen_all(connection)
