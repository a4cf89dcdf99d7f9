"""Note in the catalog that files are missing or bad, so that they are fetched again.

It touches neither pages nor bytes: `pypimirror.pipeline.verify.takeback` does that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pypimirror.catalog.queries import files, projects
from pypimirror.catalog.records import FileRecord
from pypimirror.catalog.states import State
from pypimirror.domain.model import Problem, Reason
from pypimirror.pipeline.run import Run

#: A file and its problem.
Wrong = tuple[FileRecord, Problem]


def note(run: Run, wrong: Sequence[Wrong]) -> set[int]:
    """Note the files as no longer held. Return the ids of projects whose pages still list them."""
    bare = [row for row, problem in wrong if problem.reason is Reason.PROVENANCE_MISMATCH]
    held = [
        (row, problem)
        for row, problem in wrong
        if not is_withdrawn(row) and problem.reason is not Reason.PROVENANCE_MISMATCH
    ]
    unsure = [r for r, p in held if p.reason is Reason.METADATA_MISMATCH]
    lost = [r for r, p in held if p.reason is not Reason.METADATA_MISMATCH]
    with run.catalog.write() as connection:
        files.move(connection, State.FETCHED, [{"id": row.id} for row in unsure], run.id)
        files.move(connection, State.WANTED, [{"id": row.id} for row in lost], run.id)
        # A withdrawn file is on no page. It only can no longer come back without a download.
        files.change(connection, (_lost(row, p) for row, p in wrong if is_withdrawn(row)))
        files.change(connection, ({"id": row.id, "provenance_sha256": None} for row in bare))
        touched = {row.project_id for row, _ in wrong if not is_withdrawn(row)}
        projects.touch(connection, touched)
    return touched


def is_withdrawn(row: FileRecord) -> bool:
    """Whether a file is no longer offered and is only kept for the grace period."""
    return row.state == State.WITHDRAWN


def _lost(row: FileRecord, problem: Problem) -> dict[str, Any]:
    """Return the columns of a withdrawn file that are no longer true."""
    match problem.reason:
        case Reason.METADATA_MISMATCH:
            return {"id": row.id, "metadata_sha256": None}
        case Reason.PROVENANCE_MISMATCH:
            return {"id": row.id, "provenance_sha256": None}
    # The same columns as after a removal, which removes the sidecars first and may have died here.
    return {"id": row.id, **files.REMOVED}
