"""The keeper: places files that the desk has fetched in the mirror, with the stages of a sync.

A batch has the projects with files to place that no other worker has. The keeper claims them like
any worker, and takes them through discover, download, verify and publish. The page and the bytes
come from the store (`source`). So proof, places, records, quarantine and pages are those of a sync.

The keeper holds neither lock nor lease; its claims protect what it writes. If a sync has a project
now, the keeper tries again a little later. It waits for a quiet moment, because clients need the
processor more, but not for long. It does not wait if another fetcher waits for a file, which then
counts as used.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future

from msgspec.structs import replace

from pypimirror.catalog.engines import errors
from pypimirror.catalog.lease import LostError
from pypimirror.catalog.queries import files, runs
from pypimirror.catalog.states import PROVEN
from pypimirror.domain.model import Problem, ProjectName, Reason, Stage
from pypimirror.on_demand.keeping.source import StoreFetcher
from pypimirror.on_demand.keeping.turns import Turn, Turns
from pypimirror.on_demand.store import Fetched, Store
from pypimirror.pipeline import sequence
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.context.retry_plan import Retry
from pypimirror.pipeline.run import StoppedError
from pypimirror.system.disk_errors import StorageError
from pypimirror.system.workers import WorkersError

log = logging.getLogger(__name__)

#: Seconds without a question that are a quiet moment, and the longest wait for one.
QUIET, PATIENCE = 0.3, 5.0

#: Seconds between two checks whether a file is used already.
LOOK = 0.25

#: Most projects in a batch.
MOST = 50

#: Seconds until the keeper tries a project again that another worker has: first and longest. A run
#: that pauses for requests expects them in that time (`pipeline.gate`).
_AGAIN, _LONGEST = 0.25, 0.5
#: Seconds until a file is tried again after an error such as a full disk.
_AFTER_ERROR = 10.0

#: Seconds that a placed file stays in the store: the server may be about to open it there.
GRACE = 30.0

_Pair = tuple[str, str]


class _Waiting:
    """A project with files to place."""

    def __init__(self) -> None:
        self.files: dict[str, Fetched] = {}
        self.since = self.due = time.monotonic()
        self.pause = _AGAIN


class Keeper:
    """Places files. `keep` and `placed` may be called by any thread; `work` is a thread's loop."""

    def __init__(
        self, turns: Turns, store: Store, source: StoreFetcher, quiet_for: Callable[[], float]
    ) -> None:
        self._turns = turns
        self._store = store
        self._source = source
        self._quiet_for = quiet_for
        self._next_look = 0.0
        self._is_ending = False
        self._changed = threading.Condition()
        self._waiting: dict[str, _Waiting] = {}
        self._futures: dict[_Pair, Future[Problem | None]] = {}
        self._old: list[tuple[float, Fetched]] = []  # copies in the store, and when they go

    def keep(self, file: Fetched) -> None:
        """Place a file soon."""
        with self._changed:
            if not self._waiting:  # else the keeper looks now and then by itself
                self._changed.notify_all()
            waiting = self._waiting.setdefault(file.project, _Waiting())
            self._replace(waiting, file)

    def placed(self, file: Fetched) -> Problem | None:
        """Place a file, wait until this is done, and return the problem if there is one."""
        pair = (file.project, file.filename)
        with self._changed:
            future = self._futures.setdefault(pair, Future())
        self.keep(file)
        with self._changed:
            self._changed.notify_all()
        return future.result()

    def not_waiting(self, pairs: Iterable[_Pair]) -> list[_Pair]:
        """Return those of these files that do not wait for their place.

        A client here that uses one of the others ends no wait for a quiet moment.
        """
        with self._changed:
            waiting = {(name, file) for name, each in self._waiting.items() for file in each.files}
        return [pair for pair in pairs if pair not in waiting]

    def end(self) -> None:
        """Place nothing more after this turn."""
        with self._changed:
            self._is_ending = True
            self._changed.notify_all()

    def work(self) -> None:
        """Place files until `end`. Raises the error after which this process cannot go on."""
        while True:
            is_used = self._is_used()
            with self._changed:
                due = self._due(is_used)
                if self._is_ending:
                    return
                if not due:
                    self._changed.wait(self._pause())
                taken = {name: self._waiting.pop(name) for name in due}
            if taken:
                self._place(taken)
            self._drop_old()

    def _is_used(self) -> bool:
        """Whether a file that waits is used already; asked every `LOOK` seconds, else False."""
        now = time.monotonic()
        with self._changed:
            pairs = [(name, file) for name, each in self._waiting.items() for file in each.files]
        if not pairs or now < self._next_look:
            return False
        self._next_look = now + LOOK
        try:
            return self._turns.are_used_again(pairs)
        except errors.SQLAlchemyError:  # the next turn says so
            return False

    def _due(self, is_used: bool) -> list[str]:
        """Return the projects to place now."""
        now = time.monotonic()
        due = [name for name, waiting in self._waiting.items() if waiting.due <= now]
        urgent = is_used or any(pair[0] in self._waiting for pair in self._futures)
        oldest = min((self._waiting[name].since for name in due), default=now)
        if not urgent and self._quiet_for() < QUIET and now - oldest < PATIENCE:
            return []
        return due[:MOST]

    def _pause(self) -> float | None:
        """Return the seconds until something may be due; None if nothing waits."""
        if not self._waiting:
            return GRACE if self._old else None
        now = time.monotonic()
        return max(QUIET / 2, min(each.due for each in self._waiting.values()) - now)

    def _place(self, taken: dict[str, _Waiting]) -> None:
        """Take the free ones of these projects through the stages. The others wait."""
        try:
            wanted = [(name, each) for name, waiting in taken.items() for each in waiting.files]
            turn = self._turns.take([ProjectName(name) for name in taken], wanted)
        except (errors.SQLAlchemyError, OSError) as error:
            self._fail(taken, error)
            return
        free = {str(name) for name in turn.projects.values()}
        for name in taken.keys() - free:
            self._later(name, taken[name])
        if not free:
            return
        work = {name: taken[name] for name in free}
        chosen = {(name, each): file for name in free for each, file in work[name].files.items()}
        stopped: Exception | None = None
        problems: dict[_Pair, Problem] = {}
        try:
            problems = self._work_off(turn, chosen)
        except (StoppedError, StorageError, WorkersError, errors.SQLAlchemyError, OSError) as error:
            stopped = error
        except LostError:
            raise
        except Exception:  # a fault of this program must not stop other files
            log.exception("%s could not be placed", ", ".join(sorted(free)))
            told = "an error of this program kept it from its place; the log says which"
            problems = {p: Problem(Reason.INTERNAL, f"{p[1]}: {told}", *p) for p in chosen}
        given_up = list(problems)
        placed = [] if stopped else [pair for pair in chosen if pair not in problems]
        self._turns.end(turn, placed, given_up)
        if stopped is not None:
            self._fail(work, stopped)
            return
        for pair in chosen:
            self._settle(pair, problems.get(pair))
        self._old.extend((time.monotonic() + GRACE, file) for file in chosen.values())

    def _work_off(self, turn: Turn, chosen: dict[_Pair, Fetched]) -> dict[_Pair, Problem]:
        """Take files through the stages. Return the problems of files that could not be placed."""
        only = {name: frozenset(f for n, f in chosen if n == name) for name, _ in chosen}
        run = replace(turn.run, retry=Retry("", "", only=only))
        batch = Batch(turn.number, tuple(turn.projects))
        self._source.hold({})
        sequence.work_of(Stage.DISCOVER)(run, batch)
        self._source.hold(self._by_id(turn, chosen))
        for stage in (Stage.DOWNLOAD, Stage.VERIFY, Stage.PUBLISH):
            sequence.work_of(stage)(run, batch)
        return self._problems(turn, chosen)

    def _by_id(self, turn: Turn, chosen: dict[_Pair, Fetched]) -> dict[int, Fetched]:
        with turn.run.catalog.read() as connection:
            rows = files.of_projects(connection, list(turn.projects))
        found = {row.id: chosen.get((turn.projects[row.project_id], row.filename)) for row in rows}
        return {number: file for number, file in found.items() if file is not None}

    def _problems(self, turn: Turn, chosen: dict[_Pair, Fetched]) -> dict[_Pair, Problem]:
        """Return why files are not in their places."""
        with turn.run.catalog.read() as connection:
            rows = {
                (str(turn.projects[row.project_id]), row.filename): row
                for row in files.of_projects(connection, list(turn.projects))
            }
            failed = {(p.project, p.file): p for p in runs.failures_of(connection, turn.run.id)}
        found = {}
        for pair in chosen:
            row, failure = rows.get(pair), failed.get(pair)
            if row is not None and row.state in PROVEN:
                continue
            told = (row is not None and row.last_error) or "its project's page could not be used"
            reason = Reason(failure.reason) if failure is not None else Reason.INTERNAL
            message = failure.message if failure is not None else f"{pair[1]}: {told}"
            found[pair] = Problem(reason, message, *pair)
        return found

    def _fail(self, taken: dict[str, _Waiting], error: Exception) -> None:
        """Try again later, after an error that concerns all projects, such as a full disk."""
        told = getattr(error, "problem", None) or Problem(Reason.DISK, str(error))
        log.warning("files that clients asked for wait for their place: %s", told.message)
        for name, waiting in taken.items():
            waiting.pause = _AFTER_ERROR
            for filename in waiting.files:
                self._settle((name, filename), told)
            self._later(name, waiting)

    def _settle(self, pair: _Pair, problem: Problem | None) -> None:
        with self._changed:
            future = self._futures.pop(pair, None)
        if future is not None:
            future.set_result(problem)

    def _later(self, name: str, waiting: _Waiting) -> None:
        """Try a project again that another worker has now."""
        waiting.due = time.monotonic() + waiting.pause
        waiting.pause = min(2 * waiting.pause, _LONGEST)
        with self._changed:
            newer = self._waiting.get(name)
            if newer is not None:
                for file in newer.files.values():
                    self._replace(waiting, file)
            self._waiting[name] = waiting

    def _replace(self, waiting: _Waiting, file: Fetched) -> None:
        """Let a file wait instead of an older copy of it."""
        old = waiting.files.get(file.filename)
        waiting.files[file.filename] = file
        if old is not None:
            self._store.drop_replaced(old, file)

    def _drop_old(self) -> None:
        """Remove the copies in the store that nobody needs any more."""
        now = time.monotonic()
        while self._old and self._old[0][0] <= now:
            _, file = self._old.pop(0)
            with self._changed:
                waiting = self._waiting.get(file.project)
                is_new = waiting is not None and file.filename in waiting.files
            if not is_new:
                self._store.drop(file)
