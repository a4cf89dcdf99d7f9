"""Failures by reason, in words, with some examples."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pypimirror.catalog.database import Connection
from pypimirror.catalog.queries.history import failing
from pypimirror.catalog.records import RunRecord
from pypimirror.domain.model import Reason
from pypimirror.status.documents import Failing, FailureSubject
from pypimirror.status.reasons import REASONS

#: Most examples of a reason.
_EXAMPLES = 5


def of(
    connection: Connection, found: Sequence[RunRecord], *, details: bool
) -> tuple[list[Failing], int]:
    """Return the failures of runs, the most frequent reason first, and the number of kept files.

    Files that a policy of the upstream keeps back are no failures if the run has counted them
    apart. `details` adds messages, which may contain paths and names of machines.
    """
    ids = [run.id for run in found]
    numbers = failing.by_reason(connection, ids)
    kept_back = max((counts_of(run).get("files_denied", 0) for run in found), default=0)
    numbers[Reason.DENIED] = numbers.get(Reason.DENIED, 0) - kept_back
    by_number = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    return [
        _failing(connection, ids, Reason(reason), number, details=details)
        for reason, number in by_number
        if number > 0
    ], kept_back


def counts_of(run: RunRecord) -> dict[str, int]:
    """Return the counts of a run."""
    counts: dict[str, int] = json.loads(run.counts or "{}")
    return counts


def _failing(
    connection: Connection, ids: Sequence[int], reason: Reason, number: int, *, details: bool
) -> Failing:
    examples: list[FailureSubject] = []
    for row in failing.newest(connection, ids, reason, _EXAMPLES):
        place: FailureSubject = {"project": row.project, "file": row.file, "stage": row.stage}
        if details:
            place["message"] = row.message
        examples.append(place)
    meaning, remedy = REASONS[reason]
    return {
        "reason": reason.value,
        "meaning": meaning,
        "remedy": remedy,
        "number": number,
        "examples": examples,
    }
