"""What is open before a run has done anything, and what stands when it has done all it can.

Files that wait for their next try are woken here, and told of where they are not: what pages offer
and the mirror refuses, and what waits, is said by every run. Whether a file waits is decided in
`pipeline.backoff`.
"""

from __future__ import annotations

from pypimirror.catalog.database import Connection
from pypimirror.catalog.marks import TERMS_OF_TRIES
from pypimirror.catalog.queries import doubts, files, marks
from pypimirror.domain.model import Problem, Stage
from pypimirror.pipeline import backoff
from pypimirror.pipeline.run import Run


def wake(run: Run) -> None:
    """Mark the projects of files that may be tried again now."""
    terms = backoff.terms(run.config)
    with run.catalog.write() as connection:
        if marks.read(connection, TERMS_OF_TRIES) != terms:
            files.wait_no_more(connection)
            if run.config.publish.provenance:
                files.wake_unattested(connection)
            marks.write(connection, TERMS_OF_TRIES, terms)
        files.wake(connection, run.due_at)
        doubts.look_at_bad(connection, None)


def told(run: Run, connection: Connection) -> dict[Stage, list[Problem]]:
    """Return what stands, by the stage that would otherwise have come upon it.

    Only a sync passes over files that wait; a run over some projects makes none of them wait.
    """
    found = {Stage.DISCOVER: doubts.standing_refusals(connection, run.names)}
    if run.command == "sync":
        waiting = files.waiting(connection, run.now, run.names)
        found[Stage.DOWNLOAD] = [backoff.as_problem(row) for row in waiting]
    return found
