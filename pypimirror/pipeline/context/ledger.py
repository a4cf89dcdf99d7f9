"""The ledger of a run: counts, failures, and reasons why the run cannot go on.

All stages write into it. They read it only to avoid useless requests. The counts and failures of
one stage of a batch are also kept separately, in its tally.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from contextvars import ContextVar

import msgspec
from msgspec import Struct, field

from pypimirror.catalog.database import Catalog
from pypimirror.catalog.queries import runs
from pypimirror.catalog.records import WorkerRecord
from pypimirror.domain.model import Problem, ProjectName, Reason, Stage
from pypimirror.pipeline.context.reporter import Reporter

#: If one of these counts is not 0, a stage has done some of its work.
_DONE = ("files_downloaded", "files_reused", "files_verified", "pages_written")


class Tally(Struct):
    """Counts and failures of one stage of a batch while it runs."""

    counts: Counter[str] = field(default_factory=Counter)
    total: int = 0  #: number of things to do
    failed: dict[tuple[str, str], Problem] = field(default_factory=dict)  #: by project and file
    #: Why nothing could be done.
    hindrance: Problem | None = None

    def failure(self, stage: Stage, *, whole: bool) -> Problem | None:
        """Return why the stage has failed as a whole: it did nothing of its work.

        If it works on the mirror as a `whole`, only failures that concern no project count: an
        upstream's list, or the deletion guard. A stage with some failures among many things has not
        failed.
        """
        if self.hindrance is not None or whole:
            return self.hindrance or self.failed.get(("", ""))
        about_files = stage in (Stage.DOWNLOAD, Stage.VERIFY)
        failed = [p for (_, file), p in self.failed.items() if bool(file) is about_files]
        nothing_done = not any(self.counts[name] for name in _DONE)
        return failed[0] if nothing_done and 0 < self.total <= len(failed) else None


#: The tally of the stage that runs in this thread.
_tally: ContextVar[Tally | None] = ContextVar("tally", default=None)


class Ledger:
    """The ledger of one run. Safe to use from several threads."""

    def __init__(self, catalog: Catalog, run_id: int, reporter: Reporter) -> None:
        self.catalog = catalog
        self._run_id = run_id
        self.reporter = reporter
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        #: The stage that ended the run, if one did.
        self.stage = Stage.DISCOVER
        #: Whether any upstream has answered in this run.
        self.answered = False
        #: Why no upstream is asked again in this run.
        self.unreachable: Problem | None = None
        #: Why nothing more is downloaded in this run.
        self.no_room: Problem | None = None
        #: The message of a run that came to its end, for example about workers that did not.
        self.remark = ""
        #: Whether no project had anything left to do.
        self.idle = False
        self._together: list[str] = []  # messages that share one line of the record
        #: The projects that the closure has marked for its next round, by id; and its rounds.
        self.marked: dict[int, ProjectName] = {}
        self.rounds = 0
        #: Stages with failures other than missing projects.
        self.unsure: set[Stage] = set()
        self._set_aside = 0  # bytes that went to quarantine since its last trim

    def count(self, **changes: int) -> None:
        """Add to the counts of the run and of the current stage."""
        with self._lock:
            self.counts.update(changes)
        if (tally := _tally.get()) is not None:
            tally.counts.update(changes)

    def so_far(self) -> Counter[str]:
        """Return a copy of the counts."""
        with self._lock:
            return Counter(self.counts)

    def is_time_to_trim(self, set_aside: int, limit: float) -> bool:
        """Add bytes that went to quarantine. Return whether they exceed `limit` since the last
        time.
        """
        with self._lock:
            self._set_aside += set_aside
            if self._set_aside <= limit:
                return False
            self._set_aside = 0
            return True

    @contextmanager
    def counting(self) -> Iterator[Tally]:
        """Count the work of one stage of a batch separately."""
        tally = Tally()
        token = _tally.set(tally)
        try:
            yield tally
        finally:
            _tally.reset(token)

    def begin(self, stage: Stage, total: int | None, size: int = 0) -> None:
        """Note that a batch enters a stage, with the number of things to do and their bytes if
        known.
        """
        if (tally := _tally.get()) is not None:
            tally.total += total or 0
        self.reporter.begin(stage, total, size)

    def is_cut_off(self, things: Sized) -> bool:
        """Whether upstreams are not asked again in this run. `things` are what the stage has to
        do.
        """
        if self.unreachable is not None and things:
            self.hindered(self.unreachable)
        return self.unreachable is not None

    def hindered(self, problem: Problem) -> None:
        """Note why this stage of a batch can do nothing."""
        if (tally := _tally.get()) is not None:
            tally.hindrance = problem

    def learn(
        self,
        counts: Mapping[str, int],
        unsure: Iterable[Stage],
        unreachable: Problem | None,
        no_room: Problem | None,
        *,
        answered: bool,
    ) -> None:
        """Take over the results of another process that worked on the same run."""
        self.count(**counts)
        self.unsure.update(unsure)
        self.unreachable = self.unreachable or unreachable
        self.no_room = self.no_room or no_room
        self.answered = self.answered or answered

    def learn_from_catalog(self, workers: Iterable[WorkerRecord]) -> None:
        """Take over counts and failed stages from the catalog, for workers that cannot report them,
        because they died or were on another machine.
        """
        counts: Counter[str] = Counter()
        for worker in workers:
            counts.update(json.loads(worker.counts or "{}"))
        with self.catalog.read() as connection:
            failures = runs.failures_of(connection, self._run_id)
        unsure = {Stage(each.stage) for each in failures if each.reason != Reason.MISSING}
        self.learn(counts, unsure, None, None, answered=bool(counts))

    def has_failed(self, stage: Stage) -> bool:
        """Whether something in a stage failed, so that facts about the upstreams may be missing."""
        return stage in self.unsure

    def failed(self, stage: Stage, problems: Iterable[Problem]) -> None:
        """Record and report what failed."""
        found = list(problems)
        self.record(stage, found)
        for problem in found:
            self.reporter.problem(stage, problem)

    def record(self, stage: Stage, problems: Sequence[Problem]) -> None:
        """Record failures that were reported already."""
        if problems:
            if any(each.reason is not Reason.MISSING for each in problems):
                self.unsure.add(stage)
            if (tally := _tally.get()) is not None:
                tally.failed |= {(each.project, each.file): each for each in problems}
            self._keep(stage, problems)

    def record_together(self, stage: Stage, problem: Problem) -> None:
        """Record a failure that concerns no project. All such failures share one line."""
        with self._lock:
            self._together.append(problem.message)
            message = "; ".join(self._together)
        self.record(stage, [msgspec.structs.replace(problem, message=message)])

    def _keep(self, stage: Stage, problems: Sequence[Problem]) -> None:
        self.catalog.apply(
            lambda connection: runs.add_failures(connection, self._run_id, stage, problems)
        )


class KeptLedger(Ledger):
    """The ledger of a dry run. It keeps failures in memory and writes no record."""

    def __init__(self, catalog: Catalog, reporter: Reporter) -> None:
        super().__init__(catalog, 0, reporter)
        self.kept: list[Problem] = []

    def _keep(self, stage: Stage, problems: Sequence[Problem]) -> None:  # noqa: ARG002
        self.kept.extend(problems)
