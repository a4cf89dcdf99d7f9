"""Files that a run leaves to request workers, because these fetch them for clients at this moment.

The rules:

* A batch leaves out a file that a live request worker fetches, also if a client asks for it while
  the file waits in the batch. A transfer that has begun goes on.
* Before the run ends, it waits until the request workers have placed what `[select]` asks for too,
  or have given it up. Then it fetches what is still missing. The bytes take as long as if the run
  had fetched them itself. It does not wait for ever: a request worker may have no room.
* A project is left once in a run, and the run waits only for the first request. So clients that ask
  for the same file again and again cannot keep a run from its end. If the worker of that request
  has died and another one has taken the file over, the run waits for this one.

The mark `LEFT` has the files, because the workers of a run may be on several machines.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping

from pypimirror.catalog import holder
from pypimirror.catalog.database import Connection
from pypimirror.catalog.marks import LEFT
from pypimirror.catalog.queries import marks
from pypimirror.catalog.queries.work import asked, claims, requests, tries
from pypimirror.catalog.records import ProjectFile
from pypimirror.catalog.states import REQUEST
from pypimirror.domain.model import ProjectName
from pypimirror.domain.sizes import number_of
from pypimirror.pipeline.run import Run
from pypimirror.system.workers import Cancelled

#: While a batch fetches: seconds between two checks of what clients have asked for.
EVERY = 1.0

#: Seconds between two checks whether request workers are done: first and longest.
_FIRST, _LONGEST = 0.05, 0.5

#: Seconds after which a run itself fetches the files that request workers still have.
PATIENCE = 900.0


class Leaving:
    """The files that a batch leaves. One thread uses it."""

    def __init__(self, run: Run, rows: Collection[ProjectFile]) -> None:
        self._run = run
        asks = run.command != REQUEST and bool(run.config.on_demand.projects)
        is_beside = asks and run.fetches
        self._project_of = {row.id: row.project for row in rows} if is_beside else {}
        self._theirs: frozenset[asked.Pair] = frozenset()
        self._next = -math.inf

    def without(self, due: Mapping[int, ProjectFile]) -> dict[int, ProjectFile]:
        """Return the files that are not left."""
        left = {number: row for number, row in due.items() if self._is_theirs(row)}
        self._leave(left.values())
        return {number: row for number, row in due.items() if number not in left}

    def leaves(self, row: ProjectFile) -> bool:
        """Whether the next file is left, because a client has asked for it meanwhile."""
        if not self._is_theirs(row):
            return False
        self._leave([row])
        return True

    def _is_theirs(self, row: ProjectFile) -> bool:
        if self._project_of and time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY
            with self._run.catalog.read() as connection:
                left = _left(connection) & self._project_of.keys()
                once = {self._project_of[number] for number in left}
                names = set(self._project_of.values()) - once
                self._theirs = frozenset(asked.under_way(connection, names))
        return (row.project, row.filename) in self._theirs

    def _leave(self, rows: Collection[ProjectFile]) -> None:
        if not rows:
            return
        with self._run.catalog.write() as connection:
            left = _left(connection) | {row.id for row in rows}
            marks.write(connection, LEFT, tuple(sorted(left)))
        told = (
            f"left out, because a request fetches it for a client: {number_of(len(rows), 'file')}"
        )
        self._run.reporter.note("info", told)


def settle(run: Run) -> bool:
    """Wait until nobody fetches what workers have left. Return whether there is more to do.

    Projects of which files are still missing may be claimed again. Raises `Cancelled`.
    """
    pause, until = _FIRST, time.monotonic() + PATIENCE
    awaited: dict[asked.Pair, tuple[float, int | None]] = {}  # time and worker of a request
    while missing := _missing(run):
        with run.catalog.write() as connection:  # one that has died fetches nothing any more
            requests.lose(connection, list(requests.alive(connection)), holder.this_machine())
            alive = requests.alive(connection)
            theirs = asked.under_way(connection, {project for project, _ in missing})
            for pair in missing.keys() & theirs.keys():
                if pair not in awaited or awaited[pair][1] not in alive:
                    awaited[pair] = theirs[pair], asked.fetched_by(connection, pair)
            is_coming = any(awaited[pair][0] == theirs[pair] for pair in missing.keys() & theirs)
            if not is_coming or time.monotonic() >= until:
                claims.reopen_done(connection, set(missing.values()))
                return True
        if run.cancelled.wait(pause):
            raise Cancelled("cancelled")
        pause = min(_LONGEST, 2 * pause)
    return False


def _missing(run: Run) -> dict[asked.Pair, int]:
    """Return the files that were left, that `[select]` asks for and that are not here, with the ids
    of their projects.
    """
    with run.catalog.read() as connection:
        left = _left(connection)
        rows = asked.left(connection, left) if left else []
    return {
        (row.project, row.filename): row.project_id
        for row in rows
        if tries.is_due_at(row, run.due_at)
        and run.selection.selects(ProjectName(row.project), row.filename)
        and (run.retry is None or run.retry.wants(row))
    }


def _left(connection: Connection) -> set[int]:
    found = marks.read(connection, LEFT)
    return set(found or ())
