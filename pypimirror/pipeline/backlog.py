"""Open work at the beginning of a run, and what is still open when it ends.

At the beginning, files whose waiting time is over are marked. At the end, every run reports the
refused offers and the files that still wait. `pipeline.backoff` decides whether a file waits.
Files that an upstream withholds are told apart from failures.
"""

from __future__ import annotations

from collections.abc import Sequence

from pypimirror.catalog.database import Connection
from pypimirror.catalog.marks import TERMS_OF_TRIES
from pypimirror.catalog.queries import doubts, marks, runs, totals
from pypimirror.catalog.queries.work import tries
from pypimirror.domain.model import Problem, Reason, Stage
from pypimirror.pipeline import backoff
from pypimirror.pipeline.run import Run


def wake(run: Run) -> None:
    """Mark the projects with files that may be tried again now."""
    terms = backoff.terms(run.config)
    with run.catalog.write() as connection:
        if marks.read(connection, TERMS_OF_TRIES) != terms:
            tries.wait_no_more(connection)
            if run.config.publish.provenance:
                tries.wake_unattested(connection)
            marks.write(connection, TERMS_OF_TRIES, terms)
        tries.wake(connection, run.due_at)
        doubts.look_at_bad(connection, None)


def record(run: Run, connection: Connection) -> None:
    """Record what is still open among the failures of the run, unless it is there already."""
    recorded = {(row.project, row.file) for row in runs.failures_of(connection, run.id)}
    for stage, problems in open_problems(run, connection).items():
        new = [p for p in problems if (p.project, p.file) not in recorded]
        runs.add_failures(connection, run.id, stage, new)


def denied(run: Run, connection: Connection, problems: Sequence[Problem]) -> list[Problem]:
    """Return the problems that are not failures: files that a policy upstream withholds.

    If more files are withheld than held, assume that a login is missing, not a policy on files.
    """
    found = [p for p in problems if p.reason is Reason.DENIED and p.file]
    apart = run.config.download.denied == "tell" and len(found) <= totals.held(connection).files
    return found if apart else []


def open_problems(run: Run, connection: Connection) -> dict[Stage, list[Problem]]:
    """Return what is still open as problems, by the stage that would find them.

    Only a sync skips waiting files. A run that is limited to some projects makes no file wait. A
    short run for requests checks none of this.
    """
    if run.command == "evict":
        return {}
    found = {Stage.DISCOVER: doubts.standing_refusals(connection, run.names)}
    if run.command == "sync":
        waiting = tries.waiting(connection, run.now, run.names)
        found[Stage.DOWNLOAD] = [backoff.as_problem(row) for row in waiting]
    return found
