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

from sqlalchemy import Connection, delete, func, literal, select, text, update

from pypimirror import __version__
from pypimirror.catalog import holder
from pypimirror.catalog.holder import Machine
from pypimirror.catalog.mapping.inserts import insert_or_ignore
from pypimirror.catalog.marks import OPEN, WAITING
from pypimirror.catalog.queries import leases, marks, projects
from pypimirror.catalog.queries.work import claims, workers
from pypimirror.catalog.schema import claims as table
from pypimirror.catalog.schema import failures, runs
from pypimirror.catalog.schema import projects as those
from pypimirror.catalog.schema import workers as all_workers
from pypimirror.catalog.states import COMPLETED, INCOMPLETE, REQUEST, WORKING
from pypimirror.domain.model import ProjectName

_ids = select(all_workers.c.id).where(
    all_workers.c.executor == REQUEST, all_workers.c.state == WORKING
)


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
    found: dict[int, ProjectName] = {}
    for chunk in projects.chunks(names):
        ids = _claim(connection, worker_id, batch, chunk)
        found.update(projects.decide_again(connection, ids))
    return found


def _claim(
    connection: Connection, worker_id: int, batch: int, names: Sequence[ProjectName]
) -> list[ProjectName]:
    """Claim the free ones of some projects and return their names."""
    named = those.c.name.in_(names)
    # Projects that a run has finished are free for others.
    ids = select(those.c.id).where(named)
    connection.execute(delete(table).where(table.c.project_id.in_(ids), table.c.done.is_(True)))
    mine = [literal(worker_id), literal(batch), literal(False)]
    query = select(those.c.id, *mine).where(named, claims.is_free)
    query = query.with_for_update(of=those, key_share=True, skip_locked=True)
    statement = insert_or_ignore(connection, table)
    columns = ["project_id", "worker_id", "batch", "done"]
    connection.execute(statement.from_select(columns, query))
    taken = select(table.c.project_id).where(table.c.worker_id == worker_id, table.c.batch == batch)
    return [
        ProjectName(name)
        for name in connection.scalars(select(those.c.name).where(named, those.c.id.in_(taken)))
    ]


def _lose_gone(connection: Connection, names: Sequence[ProjectName], here: Machine) -> None:
    """Free the claims of dead workers on these projects, of any run."""
    for chunk in projects.chunks(names):
        ids = select(those.c.id).where(those.c.name.in_(chunk))
        has = select(table.c.worker_id).where(table.c.project_id.in_(ids), table.c.done.is_(False))
        lose(connection, list(connection.scalars(has.distinct())), here)


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
    query = select(table.c.worker_id).where(table.c.done.is_(False)).distinct()
    with_claims = list(connection.scalars(query))
    return list(connection.scalars(_ids.where(all_workers.c.id.in_(with_claims))))


def alive(connection: Connection) -> set[int]:
    """Return the ids of the request workers that have not ended, as far as the catalog knows."""
    return set(connection.scalars(_ids))


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
        connection.execute(text(f"LOCK TABLE claims IN {mode} MODE"))


def of_day(connection: Connection, config: str, now: float) -> tuple[int, str]:
    """Return the id and the name of the run of the day, which is recorded if it is new."""
    name = f"{time.strftime('%Y%m%d', time.gmtime(now))}-{REQUEST}"
    here = holder.this_machine()
    values = {
        "name": name,
        "command": REQUEST,
        "trigger": REQUEST,
        "version": __version__,
        "config": config,
        "arguments": "[]",
        "host": here.host,
        "boot": here.boot or None,
        "pid": os.getpid(),  # of the first fetcher of the day
        "state": COMPLETED,
        "started_at": now,
        "ended_at": now,
        "counts": "{}",
    }
    connection.execute(insert_or_ignore(connection, runs).values(**values))
    number: int | None = connection.scalar(select(runs.c.id).where(runs.c.name == name))
    assert number is not None
    return number, name


def add(connection: Connection, run_id: int, counts: Mapping[str, int], now: float) -> None:
    """Add the counts of a batch to the run of the day."""
    query = select(runs.c.counts, runs.c.ended_at).where(runs.c.id == run_id).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None:  # it is no longer in the history
        return
    total = Counter(json.loads(row.counts or "{}"))
    total.update(counts)
    failed = select(failures.c.project, failures.c.file).where(failures.c.run_id == run_id)
    number = connection.scalar(select(func.count()).select_from(failed.distinct().subquery()))
    files = connection.scalar(
        select(func.count()).select_from(failed.where(failures.c.file != "").distinct().subquery())
    )
    total["files_failed"] = files or 0
    values = {
        "state": INCOMPLETE if number else COMPLETED,
        "ended_at": max(now, row.ended_at or now),
        "counts": json.dumps(total),
    }
    connection.execute(update(runs).where(runs.c.id == run_id).values(**values))
