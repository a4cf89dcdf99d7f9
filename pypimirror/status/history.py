"""Runs: the newest ones as a list, and one run with all of its details."""

from __future__ import annotations

import json
from itertools import islice

from pypimirror.catalog.database import Connection
from pypimirror.catalog.queries import files, runs, totals
from pypimirror.catalog.queries.history import batches
from pypimirror.catalog.queries.work import workers
from pypimirror.catalog.records import RunRecord, WorkerRecord
from pypimirror.domain.documents import iso
from pypimirror.status import failures, stages
from pypimirror.status.documents import ProvenFileName, RunLine, RunPage, WorkerLine

#: How many of the newest runs are listed, and of the newest that did not complete.
_NEWEST, _UNDONE = 10, 10
#: Most files of a run that are listed. In a mirror with more files than the second number, they are
#: not looked for, because there is no index for this.
_FILES, _SMALL = 200, 100_000


def lines(connection: Connection, *, details: bool) -> list[RunLine]:
    """Return the newest runs, and the newest that did not complete, the newest first."""
    found = runs.recent(connection, _NEWEST)
    known = {run.id for run in found}
    undone = runs.recent(connection, _UNDONE, undone=True)
    found += [run for run in undone if run.id not in known]
    return [line(run, details=details) for run in found]


def line(run: RunRecord, *, details: bool) -> RunLine:
    """Return a run as a line of a list."""
    counts = failures.counts_of(run)
    seconds = None if run.ended_at is None else round(max(0.0, run.ended_at - run.started_at), 3)
    found: RunLine = {
        "run": run.name,
        "command": run.command,
        "state": run.state,
        "started_at": run.started_at,
        "started_at_iso": iso(run.started_at),
        "seconds": seconds,
        "files": counts.get("files_verified", counts.get("files_checked", 0)),
        "bytes": counts.get("bytes_downloaded", 0),
        "failed": counts.get("files_failed", 0),
    }
    if details:
        found["message"] = run.message or ""
    return found


def read(connection: Connection, name: str, *, details: bool = False) -> RunPage | None:
    """Return the run with exactly this name; None if there is none.

    With `details`, it may contain paths and names of machines.
    """
    run = runs.find(connection, name)
    if run is None or run.name != name:
        return None
    failing, kept_back = failures.of(connection, [run], details=details)
    proven, is_more = _proven(connection, run)
    page: RunPage = {
        "line": line(run, details=details),
        "trigger": run.trigger,
        "version": run.version,
        "ended_at": run.ended_at,
        "ended_at_iso": iso(run.ended_at),
        "retry_of": run.retry_of,
        "counts": failures.counts_of(run),
        "stages": stages.of([stages.batch(row) for row in batches.of_run(connection, run.id)]),
        "workers": [_worker(row, details=details) for row in workers.of_run(connection, run.id)],
        "failures": failing,
        "kept_back": kept_back,
        "proven": proven,
        "is_more": is_more,
    }
    if details:
        page["host"] = run.host
        page["arguments"] = json.loads(run.arguments)
    return page


def _worker(row: WorkerRecord, *, details: bool) -> WorkerLine:
    counts: dict[str, int] = json.loads(row.counts or "{}")
    found: WorkerLine = {
        "name": row.name,
        "executor": row.executor,
        "state": row.state,
        "seconds": None if row.ended_at is None else round(row.ended_at - row.started_at, 3),
        "batches": row.batches,
        "projects": row.projects,
        "files": counts.get("files_verified", 0),
        "bytes": counts.get("bytes_downloaded", 0),
    }
    if details:
        found |= {"host": row.host, "message": row.message or ""}
    return found


def _proven(connection: Connection, run: RunRecord) -> tuple[list[ProvenFileName], bool]:
    """Return files that a run proved, and whether there may be more."""
    held = totals.held(connection)
    if held.files + held.linked > _SMALL:
        return [], True
    rows = files.proven_by(connection, run.id, run.started_at)
    found = list(islice(rows, _FILES + 1))
    rows.close()  # type: ignore[attr-defined]
    listed: list[ProvenFileName] = [{"project": f.project, "file": f.filename} for f in found]
    return listed[:_FILES], len(found) > _FILES
