"""Queries on requests: workers that fetch what clients ask for, beside any run or without one.

A request worker holds neither the lock nor the lease; only its claims protect what it does. The
rules that keep it apart from a run:

* While a run holds the lease, a request worker claims nothing, unless the run has set the mark
  `OPEN`. A run sets it while its workers go through batches. So during all other work, the run is
  alone with the mirror.
* A refused request worker sets the mark `WAITING`. Long work on the whole mirror then opens the
  gate now and then (`pipeline.gate.Pauses`).
* A process that takes the lease, or clears the mark, then waits until no request worker has a claim
  (`at_work`). On PostgreSQL, both sides lock the table `claims` before they look. Otherwise a claim
  could be made after one side has looked and before it commits.
* Claims of request workers outlive the runs beside them.

All batches of a day are one run in the history. It is recorded as ended, because no process leads
it.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pypimirror import __version__
from pypimirror.catalog import holder
from pypimirror.catalog.holder import Machine
from pypimirror.catalog.mapping import prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.inserts import insert_for, parameters
from pypimirror.catalog.mapping.prepared import among, statement
from pypimirror.catalog.marks import OPEN, WAITING
from pypimirror.catalog.queries import leases, marks, projects
from pypimirror.catalog.queries.work import claims, workers
from pypimirror.catalog.states import COMPLETED, INCOMPLETE, REQUEST, WORKING
from pypimirror.domain.model import ProjectName


def take(
    connection: Connection, worker_id: int, batch: int, names: Sequence[ProjectName], here: Machine
) -> dict[int, ProjectName]:
    """Claim the projects among these that no worker has claimed. Return their names by id.

    Their pages will be decided on again. None is claimed while a run is alone with the mirror.
    """
    wait_for_turns(connection)
    lease = leases.find(connection, change=False)
    if lease is not None and lease.is_in_force(here) and not marks.is_set(connection, OPEN):
        marks.write_once(connection, WAITING, "")
        return {}
    projects.ensure(connection, names)
    _lose_gone(connection, names, here)
    claimed = _claim(connection, worker_id, batch, names)
    return dict(projects.decide_again(connection, claimed))


def _claim(
    connection: Connection, worker_id: int, batch: int, names: Sequence[ProjectName]
) -> list[ProjectName]:
    """Claim the free ones of some projects and return their names."""
    # Projects that a run has finished are free for others.
    prepared.execute(connection, _reopen_done(), {"names": names})
    values = {"names": names, "worker": worker_id, "number": batch}
    prepared.rows(connection, _make(connection.dialect.name), values)
    return [ProjectName(row[0]) for row in prepared.rows(connection, _made(), values)]


def _is_named() -> sql.ColumnElement[bool]:
    return among(tables.projects.c.name, "names")


def _named() -> sql.Select[Any]:
    return sql.select(tables.projects.c.id).where(_is_named())


@statement
def _reopen_done() -> sql.Delete:
    made = tables.claims
    return sql.delete(made).where(made.c.project_id.in_(_named()), made.c.done.is_(True))


@statement
def _make(dialect: str) -> sql.Insert:
    return claims.claiming(dialect, claims.for_worker(_is_named() & claims.is_free()))


@statement
def _made() -> sql.Select[Any]:
    made, theirs = tables.claims, tables.projects
    mine = made.c.worker_id == sql.bindparam("worker"), made.c.batch == sql.bindparam("number")
    taken = sql.select(made.c.project_id).where(*mine)
    return sql.select(theirs.c.name).where(_is_named(), theirs.c.id.in_(taken))


def _lose_gone(connection: Connection, names: Sequence[ProjectName], here: Machine) -> None:
    """Free the claims of dead workers on these projects, of any run."""
    found = prepared.rows(connection, _having(), {"names": names})
    lose(connection, [row[0] for row in found], here)


@statement
def _having() -> sql.Select[Any]:
    made = tables.claims
    these = sql.select(made.c.worker_id).where(made.c.project_id.in_(_named()))
    return these.where(made.c.done.is_(False)).distinct()


def lose(connection: Connection, ids: Sequence[int], here: Machine) -> None:
    """Free the claims of the dead ones among these workers."""
    gone = [each for each in workers.working(connection, ids) if each.is_gone(here)]
    if gone:
        late = [each.id for each in gone if each.left <= 0]
        dead = [each.id for each in gone if each.left > 0]
        claims.drop(connection, workers.lose(connection, dead, late))


def at_work(connection: Connection) -> list[int]:
    """Return the ids of the request workers that have claims.

    It waits for transactions that have not ended, so it sees every earlier claim.
    """
    _lock(connection, "SHARE")
    return [row[0] for row in prepared.rows(connection, _alive(with_claims=True), {})]


def alive(connection: Connection) -> set[int]:
    """Return the ids of the request workers that have not ended, as far as the catalog knows."""
    return {row[0] for row in prepared.rows(connection, _alive(with_claims=False), {})}


@statement
def _alive(*, with_claims: bool) -> sql.Select[Any]:
    made, those = tables.claims, tables.workers
    ids = sql.select(those.c.id).where(those.c.executor == REQUEST, those.c.state == WORKING)
    in_hand = sql.select(made.c.worker_id).where(made.c.done.is_(False))
    return ids.where(those.c.id.in_(in_hand)) if with_claims else ids


def take_turns(connection: Connection) -> None:
    """Let no other transaction of a request worker do this, or claim anything, until this ends."""
    _lock(connection, "SHARE ROW EXCLUSIVE")


def wait_for_turns(connection: Connection) -> None:
    """Let no other transaction take turns, or ask who is at work, between now and the end of this
    one.
    """
    _lock(connection, "ROW EXCLUSIVE")


def _lock(connection: Connection, mode: str) -> None:
    """Lock the table of claims. On SQLite, a transaction that writes is alone anyhow."""
    if connection.dialect.name == "postgresql":
        connection.run(f"LOCK TABLE claims IN {mode} MODE")


def of_day(connection: Connection, config: str, now: float) -> tuple[int, str]:
    """Return the id and the name of the run of the day, which is recorded if it is new."""
    name = f"{time.strftime('%Y%m%d', time.gmtime(now))}-{REQUEST}"
    here = holder.this_machine()
    values = {
        "name": name,
        "version": __version__,
        "config": config,
        "host": here.host,
        "boot": here.boot or None,
        "pid": os.getpid(),  # of the first fetcher of the day
        "started_at": now,
        "ended_at": now,
    }
    prepared.execute(connection, _add_run(connection.dialect.name), values)
    return int(prepared.value(connection, _run_named(), {"named": name})), name


@statement
def _add_run(dialect: str) -> Any:
    given = ("name", "version", "config", "host", "boot", "pid", "started_at", "ended_at")
    values = {
        **parameters(*given),
        "command": REQUEST,
        "trigger": REQUEST,
        "arguments": "[]",
        "state": COMPLETED,
        "counts": "{}",
    }
    return insert_for(dialect, tables.runs).values(values).on_conflict_do_nothing()


@statement
def _run_named() -> sql.Select[Any]:
    return sql.select(tables.runs.c.id).where(tables.runs.c.name == sql.bindparam("named"))


def add(connection: Connection, run_id: int, counts: Mapping[str, int], now: float) -> None:
    """Add the counts of a batch to the run of the day."""
    found = prepared.rows(connection, _counts(), {"run": run_id})
    if not found:  # it is no longer in the history
        return
    ((before, ended_at),) = found
    total = Counter(json.loads(before or "{}"))
    total.update(counts)
    number = prepared.value(connection, _number_failed(files=False), {"run": run_id})
    total["files_failed"] = prepared.value(connection, _number_failed(files=True), {"run": run_id})
    values = {
        "run": run_id,
        "new_state": INCOMPLETE if number else COMPLETED,
        "new_ended_at": max(now, ended_at or now),
        "new_counts": json.dumps(total),
    }
    prepared.execute(connection, _set_counts(), values)


@statement
def _counts() -> sql.Select[Any]:
    query = sql.select(tables.runs.c.counts, tables.runs.c.ended_at)
    return query.where(tables.runs.c.id == sql.bindparam("run")).with_for_update()


@statement
def _number_failed(*, files: bool) -> sql.Select[Any]:
    failures = tables.failures
    failed = sql.select(failures.c.project, failures.c.file).distinct()
    failed = failed.where(failures.c.run_id == sql.bindparam("run"))
    failed = failed.where(failures.c.file != "") if files else failed
    return sql.select(sql.func.count()).select_from(failed.subquery())


@statement
def _set_counts() -> sql.Update:
    runs, names = tables.runs, ("state", "ended_at", "counts")
    it = sql.update(runs).where(runs.c.id == sql.bindparam("run"))
    return it.values({name: sql.bindparam(f"new_{name}") for name in names})
