"""Verify, the part on what is here no more: files leave their pages, to be fetched again.

Who finds out (a verification that reads every byte, a look at whether the files are there) says of
each file what is wrong; what follows from that is here. Pages come first, then bytes: what is wrong
goes to quarantine, and what belongs to a file goes with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sqlalchemy import Row

from pypimirror.catalog import files, projects
from pypimirror.catalog.states import State
from pypimirror.model import Problem, Reason, Stage
from pypimirror.stages import publish, removing
from pypimirror.stages.quarantine import set_aside
from pypimirror.stages.run import Run
from pypimirror.tree import METADATA_SUFFIX, PROVENANCE_SUFFIX, file_path
from pypimirror.verify.proof import BAD_BYTES
from pypimirror.verify.protocol import Checked

#: What takes a file off its page: of all else, such as a dead worker, nothing is known.
TAKEN_BACK = BAD_BYTES | {
    *(Reason.LOST, Reason.UNREADABLE, Reason.METADATA_MISMATCH, Reason.PROVENANCE_MISMATCH)
}

#: A file, with what is wrong with it.
Wrong = tuple[Row[Any], Problem]

_NOTHING_SEEN: Mapping[int, Checked] = MappingProxyType({})


def take_back(
    run: Run, wrong: Sequence[Wrong], seen: Mapping[int, Checked] = _NOTHING_SEEN
) -> None:
    """Take bad files off their pages, then put their bytes aside; `seen` are these, by file."""
    wrong = [each for each in wrong if each[1].reason in TAKEN_BACK]
    touched = note(run, wrong)
    publish.render_pages(run, sorted(touched), with_gone=True)
    for row, problem in wrong:
        relative = file_path(row.project, row.filename, row.location)
        if problem.reason in BAD_BYTES:
            was = seen[row.id]
            set_aside(run, row, run.tree.path(relative), was.digests, was.size, problem)
        beside = [relative + suffix for suffix in _without(row, problem)]
        removing.remove(run, Stage.VERIFY, beside, row.project, row.filename)


def note(run: Run, wrong: Sequence[Wrong]) -> set[int]:
    """Say in the catalog what is here no more; return the projects whose pages say it still."""
    bare = [row for row, problem in wrong if problem.reason is Reason.PROVENANCE_MISMATCH]
    held = [
        (row, problem)
        for row, problem in wrong
        if not _is_withdrawn(row) and problem.reason is not Reason.PROVENANCE_MISMATCH
    ]
    unsure = [r for r, p in held if p.reason is Reason.METADATA_MISMATCH]
    lost = [r for r, p in held if p.reason is not Reason.METADATA_MISMATCH]
    with run.catalog.write() as connection:
        files.move(connection, State.FETCHED, [{"id": row.id} for row in unsure], run.id)
        files.move(connection, State.WANTED, [{"id": row.id} for row in lost], run.id)
        # Of a withdrawn file, only the promise to have its bytes back is lost.
        files.change(connection, (_lost(row, p) for row, p in wrong if _is_withdrawn(row)))
        files.change(connection, ({"id": row.id, "provenance_sha256": None} for row in bare))
        touched = {row.project_id for row, _ in wrong if not _is_withdrawn(row)}
        projects.touch(connection, touched)
    return touched


def sidecars(row: Row[Any]) -> dict[str, str]:
    """Return what must be beside a file: its name in a `Check`, and what its path ends in."""
    found = {}
    if row.metadata_sha256:
        found["sidecar"] = METADATA_SUFFIX
    if row.provenance_sha256:
        found["provenance"] = PROVENANCE_SUFFIX
    return found


def _is_withdrawn(row: Row[Any]) -> bool:
    return bool(row.state == State.WITHDRAWN)


def _lost(row: Row[Any], problem: Problem) -> dict[str, Any]:
    """Return what the catalog must not say any more of a withdrawn file."""
    match problem.reason:
        case Reason.METADATA_MISMATCH:
            return {"id": row.id, "metadata_sha256": None}
        case Reason.PROVENANCE_MISMATCH:
            return {"id": row.id, "provenance_sha256": None}
    # As where it is removed, whose last step this may have been: what is beside it goes first.
    return {"id": row.id, **files.REMOVED}


def _without(row: Row[Any], problem: Problem) -> Iterable[str]:
    """Return the suffixes of what is beside a file and has to go with what was found."""
    if problem.reason is Reason.PROVENANCE_MISMATCH:
        return (PROVENANCE_SUFFIX,)
    if problem.reason is Reason.METADATA_MISMATCH:  # is put in place anew, or not needed any more
        return (METADATA_SUFFIX,) if _is_withdrawn(row) else ()
    return sidecars(row).values()  # they are of what is here no more
