"""Verify: take missing or bad files off their pages, so that they are fetched again.

The caller has found out what is wrong with each file, by reading every byte or by checking that the
files exist. The consequences are here. Pages come first, then bytes: bad bytes go to quarantine,
and sidecars of the file are removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

from pypimirror.catalog.records import FileRecord, ProjectFile
from pypimirror.domain.layout import METADATA_SUFFIX, PROVENANCE_SUFFIX, file_path
from pypimirror.domain.model import Problem, Reason, Stage
from pypimirror.pipeline.publish import publish, removing
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.verify import missing
from pypimirror.pipeline.verify.missing import is_withdrawn
from pypimirror.pipeline.verify.quarantine import set_aside
from pypimirror.verify.proof import BAD_BYTES
from pypimirror.verify.protocol import Checked

#: Reasons that take a file off its page. Others, such as a dead worker, say nothing about the file.
TAKEN_BACK = BAD_BYTES | {
    *(Reason.LOST, Reason.UNREADABLE, Reason.METADATA_MISMATCH, Reason.PROVENANCE_MISMATCH)
}

_NOTHING_SEEN: Mapping[int, Checked] = MappingProxyType({})


def take_back(
    run: Run,
    wrong: Sequence[tuple[ProjectFile, Problem]],
    seen: Mapping[int, Checked] = _NOTHING_SEEN,
) -> None:
    """Take bad files off their pages, then put their bytes aside. `seen` has the bytes' digests."""
    wrong = [each for each in wrong if each[1].reason in TAKEN_BACK]
    touched = missing.note(run, wrong)
    publish.render_pages(run, sorted(touched), with_gone=True)
    for row, problem in wrong:
        relative = file_path(row.project, row.filename, row.location)
        if problem.reason in BAD_BYTES:
            was = seen[row.id]
            take = partial(run.storage.take, relative)
            set_aside(run, row, take, was.digests, was.size, problem)
        beside = [relative + suffix for suffix in _without(row, problem)]
        removing.remove(run, Stage.VERIFY, beside, row.project, row.filename)


def sidecars(row: FileRecord) -> dict[str, str]:
    """Return the sidecars that a file must have: the name in a `Check` and the suffix of the
    path.
    """
    found = {}
    if row.metadata_sha256:
        found["sidecar"] = METADATA_SUFFIX
    if row.provenance_sha256:
        found["provenance"] = PROVENANCE_SUFFIX
    return found


def _without(row: FileRecord, problem: Problem) -> Iterable[str]:
    """Return the suffixes of the sidecars that must be removed."""
    if problem.reason is Reason.PROVENANCE_MISMATCH:
        return (PROVENANCE_SUFFIX,)
    if problem.reason is Reason.METADATA_MISMATCH:  # it is written again, or no longer needed
        return (METADATA_SUFFIX,) if is_withdrawn(row) else ()
    return sidecars(row).values()  # the file itself is gone
