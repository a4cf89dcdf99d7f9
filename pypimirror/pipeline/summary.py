"""The result of a run: how it ended and what it counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from pypimirror.catalog import states
from pypimirror.catalog.mirror_totals import Totals
from pypimirror.domain.model import Problem, Stage

if TYPE_CHECKING:
    from pypimirror.domain import documents

#: The counts of a run by command: the keys of `counts` in JSON.
COUNTS = {
    "sync": (
        "projects_seen",
        "projects_changed",
        "projects_needed",
        "files_found",
        "files_linked",
        "files_downloaded",
        "files_reused",
        "files_verified",
        "files_failed",
        "files_denied",
        "files_quarantined",
        "files_withdrawn",
        "files_evicted",
        "pages_written",
        "bytes_downloaded",
    ),
    "evict": ("files_evicted", "files_withdrawn", "files_failed", "files_denied", "pages_written"),
    "adopt": (
        "projects_seen",
        "projects_changed",
        "files_found",
        "files_linked",
        "files_reused",
        "files_verified",
        "files_missing",
        "files_failed",
        "files_denied",
        "files_quarantined",
        "pages_written",
        "bytes_checked",
    ),
    "verify": (
        "files_checked",
        "files_failed",
        "files_denied",
        "files_downloaded",
        "files_verified",
        "pages_waiting",
        "pages_written",
        "repaired",
        "bytes_checked",
        "bytes_downloaded",
    ),
}


class Summary(Struct, frozen=True):
    """The result of a run."""

    run: str  #: its name; "" if there was nothing to do and no run
    state: str
    counts: dict[str, int]
    seconds: float
    failures: list[Problem]
    stages: list[str]  #: the stage of each of `failures`
    message: str
    #: Files that the upstream withholds, if that is not a failure.
    denied: list[Problem] = field(default_factory=list)
    held: Totals | None = None  #: what the mirror holds at the end; None: not counted

    @classmethod
    def of_nothing(cls, command: str, message: str) -> Summary:
        """Return the summary if there was nothing to do, and so no run."""
        return cls("", states.COMPLETED, dict.fromkeys(COUNTS[command], 0), 0.0, [], [], message)

    def as_json(self) -> documents.RunResult:
        """Return the document that `sync --json` prints."""
        return {
            "run": self.run or None,
            "state": self.state,
            "counts": self.counts,
            "seconds": round(self.seconds, 3),
            "failures": [
                _told(problem, stage)
                for problem, stage in zip(self.failures, self.stages, strict=True)
            ],
            "denied": [_told(problem, Stage.DOWNLOAD) for problem in self.denied],
        }


def _told(problem: Problem, stage: str) -> documents.Failure:
    return {
        "project": problem.project,
        "file": problem.file,
        "stage": stage,
        "reason": problem.reason.value,
        "message": problem.message,
    }
