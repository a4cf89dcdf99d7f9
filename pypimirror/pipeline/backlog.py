"""Open work at the beginning of a run, and what is still open when it ends.

At the beginning, files whose waiting time is over are marked. At the end, every run reports the
refused offers and the files that still wait. `pipeline.backoff` decides whether a file waits.
"""

from __future__ import annotations

from pypimirror.catalog.database import Connection
from pypimirror.catalog.marks import TERMS_OF_TRIES
from pypimirror.catalog.queries import doubts, files, marks
from pypimirror.domain.model import Problem, Stage
from pypimirror.pipeline import backoff
from pypimirror.pipeline.run import Run


def wake(run: Run) -> None:
    """Mark the projects with files that may be tried again now."""
    terms = backoff.terms(run.config)
    with run.catalog.write() as connection:
        if marks.read(connection, TERMS_OF_TRIES) != terms:
            files.wait_no_more(connection)
            if run.config.publish.provenance:
                files.wake_unattested(connection)
            marks.write(connection, TERMS_OF_TRIES, terms)
        files.wake(connection, run.due_at)
        doubts.look_at_bad(connection, None)


def open_problems(run: Run, connection: Connection) -> dict[Stage, list[Problem]]:
    """Return what is still open as problems, by the stage that would find them.

    Only a sync skips waiting files. A run that is limited to some projects makes no file wait. A
    short run for requests looks at none of this.
    """
    if run.command == "evict":
        return {}
    found = {Stage.DISCOVER: doubts.standing_refusals(connection, run.names)}
    if run.command == "sync":
        waiting = files.waiting(connection, run.now, run.names)
        found[Stage.DOWNLOAD] = [backoff.as_problem(row) for row in waiting]
    return found
