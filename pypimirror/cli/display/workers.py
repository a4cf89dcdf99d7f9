"""The workers of a run, one row for each. It gets rows, and reads no catalog."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from pypimirror.catalog import states
from pypimirror.cli.display import show, table
from pypimirror.cli.display.amounts import amount
from pypimirror.cli.display.table import Cell, Column
from pypimirror.domain.documents import RunWorker, iso
from pypimirror.domain.durations import took

if TYPE_CHECKING:
    from pypimirror.catalog.records import WorkerRecord

#: Counts of files, and of bytes, that a worker has worked on.
_FILES, _BYTES = "files_verified", "bytes_downloaded"

_COLUMNS = (
    Column("worker"),
    Column("executor", leave=2, plain=True),
    Column("host", leave=1, plain=True),
    Column("state", plain=True),
    Column("took", right=True, plain=True),
    Column("batches", right=True),
    Column("projects", right=True),
    Column("files", right=True),
    Column("bytes", right=True, plain=True),
    Column("message", leave=3),
)

_decode_counts = msgspec.json.Decoder(dict[str, int]).decode


def document(row: WorkerRecord) -> RunWorker:
    """Return a worker as JSON shows it."""
    counts = _decode_counts(row.counts) if row.counts else {}
    seconds = None if row.ended_at is None else max(0.0, row.ended_at - row.started_at)
    return {
        "name": row.name,
        "executor": row.executor,
        "host": row.host,
        "state": row.state,
        "started_at": row.started_at,
        "started_at_iso": iso(row.started_at),
        "ended_at": row.ended_at,
        "ended_at_iso": iso(row.ended_at),
        "seconds": None if seconds is None else round(seconds, 3),
        "batches": row.batches,
        "projects": row.projects,
        "files": counts.get(_FILES, 0),
        "bytes": counts.get(_BYTES, 0),
        "counts": counts,
        "message": row.message,
    }


def show_all(workers: Sequence[RunWorker]) -> None:
    """Print the workers of a run, unless the process of the run did all the work without trouble.

    Most runs are like that. Then the stages say everything.
    """
    if any(each["executor"] != states.INLINE or each["message"] for each in workers):
        table.show(_COLUMNS, map(_row, workers))


def _row(worker: RunWorker) -> tuple[str | Cell, ...]:
    return (
        worker["name"],
        worker["executor"],
        worker["host"],
        Cell(worker["state"], show.style_of(worker["state"])),
        took(worker["seconds"]),
        str(worker["batches"]),
        str(worker["projects"]),
        str(worker["files"]),
        amount(worker["bytes"]) if worker["bytes"] else "",
        worker["message"] or "",
    )
