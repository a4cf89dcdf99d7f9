"""Publish, the part on removals: withdrawing files, the deletion guard, and the bytes at last.

The guard sees everything that a run would withdraw before any of it is withdrawn. It holds back
what the upstream dropped, not what the configuration deselects and not what the upstream itself
says it withholds for now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from pypimirror.catalog import files, projects, totals
from pypimirror.catalog.states import DUE, PROVEN, Cause, State
from pypimirror.model import Problem, Reason
from pypimirror.stages.run import Run, StoppedError
from pypimirror.tree import METADATA_SUFFIX, PROVENANCE_SUFFIX, file_path

_EXAMPLES = 3


@dataclass(frozen=True)
class Withdrawn:
    """What became of the files that are not offered any more."""

    projects: Sequence[int] = ()  #: ids of those whose pages must be rendered
    refusal: Problem | None = None  #: why nothing was withdrawn

    @property
    def allowed(self) -> bool:
        """Whether the guard agreed."""
        return self.refusal is None

    def raise_if_refused(self) -> None:
        """Raise `StoppedError` where the guard refused."""
        if self.refusal is not None:
            raise StoppedError(self.refusal)


def withdraw(run: Run) -> Withdrawn:
    """Take back the files that are not offered any more, unless the guard refuses."""
    with run.catalog.read() as connection:
        leaving = list(files.leaving(connection))
        held = totals.held(connection)
    refusal = guard(run, leaving, held.files + held.linked)
    if refusal is not None:
        return Withdrawn(refusal=refusal)
    listed = [row for row in leaving if is_listed(row)]
    held_here = {row.id for row in leaving if row.state in PROVEN or _is_in_place(run, row)}
    for row in leaving:
        if row.state not in PROVEN:
            run.tree.discard(row.id)
    kept = held_here | {row.id for row in listed}
    touched = {row.project_id for row in listed}
    moved = [
        {"id": row.id, "withdrawn_at": run.now if row.id in held_here else row.withdrawn_at}
        for row in leaving
        if row.id in kept
    ]
    with run.catalog.write() as connection:
        # What was to be held again, and never came, still stands on its page as linked.
        awaited = [{"id": row.id} for row in listed if row.linked and row.state in DUE]
        files.move(connection, State.LINKED, awaited, run.id)
        files.move(connection, State.WITHDRAWN, moved, run.id)
        files.forget(connection, (row.id for row in leaving if row.id not in kept))
        projects.touch(connection, touched)
    run.count(files_withdrawn=len(listed))
    return Withdrawn(sorted(touched))


def is_listed(row: Row[Any]) -> bool:
    """Say of a row of `files.leaving` what `files.is_listed` says to the database."""
    return bool(row.linked or row.state in PROVEN)


def guard(run: Run, leaving: Sequence[Row[Any]], held: int) -> Problem | None:
    """Return why this much may not be withdrawn at once, or None.

    A share means something only across projects: that one project is deleted is daily life, and
    in a small mirror it may be a third of everything.
    """
    dropped = [row for row in leaving if is_listed(row) and row.gone == Cause.UPSTREAM]
    limits = run.config.delete
    per_project = Counter(row.project for row in dropped)
    by_count = len(dropped) > limits.max_count
    by_share = len(per_project) > 1 and len(dropped) > limits.max_share * held
    if not by_count and not by_share:
        return None
    examples = ", ".join(f"{name} ({n})" for name, n in per_project.most_common(_EXAMPLES))
    return Problem(
        Reason.DELETION_GUARD,
        f"the upstream dropped {len(dropped)} of {held} files, of {len(per_project)} projects "
        f"({examples}{', …' if len(per_project) > _EXAMPLES else ''}), which is more than "
        f"[delete] allows (max_share = {limits.max_share}, max_count = {limits.max_count}); "
        "nothing was removed. If that is right, raise the limits for one run: "
        "PYPIMIRROR_DELETE__MAX_SHARE=1 PYPIMIRROR_DELETE__MAX_COUNT=1000000000",
    )


def remove_expired(run: Run) -> None:
    """Remove the bytes of files that were withdrawn longer ago than the grace period."""
    before = run.now - run.config.delete.grace.total_seconds()
    with run.catalog.read() as connection:
        rows = files.expired(connection, before)
    for row in rows:
        relative = _path(row)
        run.tree.remove(relative + METADATA_SUFFIX)
        if row.provenance_sha256 is not None:
            run.tree.remove(relative + PROVENANCE_SUFFIX)
        run.tree.remove(relative)
    if rows:
        run.tree.flush()  # bytes that came back would stay for ever
        with run.catalog.write() as connection:
            nothing = {"withdrawn_at": None, "provenance_sha256": None}
            changes = [{"id": row.id, **nothing} for row in rows]
            files.change(connection, changes)


def _is_in_place(run: Run, row: Row[Any]) -> bool:
    """Whether this mirror's own bytes are in a file's place, which were proven and on a page once.

    They would never be removed otherwise; all else in its place is not this mirror's.
    """
    fetched = row.state == State.FETCHED and row.proof is not None
    return fetched and not run.tree.is_staged(row.id) and run.tree.has(_path(row))


def _path(row: Row[Any]) -> str:
    return file_path(row.project, row.filename, row.location)
