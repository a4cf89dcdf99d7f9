"""The ledger of a run: what is counted, what has failed, and what keeps it from going on.

Stages write into it; of what others wrote, they read no more than what spares asking in vain.
Counts and failures of a stage of a batch are also kept apart, in its tally.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import msgspec

from pypimirror.catalog.database import Catalog
from pypimirror.catalog.queries import runs
from pypimirror.domain.model import Problem, Stage
from pypimirror.pipeline.context.reporter import Reporter

#: What is counted where a stage has done something of what it had to do.
_DONE = ("files_downloaded", "files_reused", "files_verified", "pages_written")


@dataclass
class Tally:
    """What becomes of the stage of a batch while it is under way."""

    counts: Counter[str] = field(default_factory=Counter)
    total: int = 0  #: of the things that it has to do
    failed: dict[tuple[str, str], Problem] = field(default_factory=dict)  #: by project and file
    #: Why nothing of it could be done.
    hindrance: Problem | None = None

    def failure(self, stage: Stage, *, whole: bool) -> Problem | None:
        """Return why the stage has failed altogether: nothing of what it had to do was done.

        Of the mirror as a `whole`, that is what concerns no project: an upstream's list, the
        deletion guard. What fails of many is no failure of their stage.
        """
        if self.hindrance is not None or whole:
            return self.hindrance or self.failed.get(("", ""))
        about_files = stage in (Stage.DOWNLOAD, Stage.VERIFY)
        failed = [p for (_, file), p in self.failed.items() if bool(file) is about_files]
        nothing_done = not any(self.counts[name] for name in _DONE)
        return failed[0] if nothing_done and 0 < self.total <= len(failed) else None


#: The tally of the stage of a batch that is under way in this thread.
_tally: ContextVar[Tally | None] = ContextVar("tally", default=None)


class Ledger:
    """The ledger of one run. Safe to use from several threads."""

    def __init__(self, catalog: Catalog, run_id: int, reporter: Reporter) -> None:
        self._catalog = catalog
        self._run_id = run_id
        self._reporter = reporter
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        #: The stage that ended the run, where one did.
        self.stage = Stage.DISCOVER
        #: Whether any upstream has answered in this run.
        self.answered = False
        #: Why there is no use in asking an upstream again in this run.
        self.unreachable: Problem | None = None
        #: Why nothing more is downloaded in this run.
        self.no_room: Problem | None = None
        #: Whether no project had anything left to do.
        self.idle = False
        self._together: list[str] = []  # messages that share one line of the record
        self._set_aside = 0  # bytes that went to quarantine since it was trimmed

    def count(self, **changes: int) -> None:
        """Add to the counts of the run, and of the stage that this is called in."""
        with self._lock:
            self.counts.update(changes)
        if (tally := _tally.get()) is not None:
            tally.counts.update(changes)

    def is_time_to_trim(self, set_aside: int, limit: float) -> bool:
        """Note bytes that went to quarantine; whether more than `limit` did since this was so."""
        with self._lock:
            self._set_aside += set_aside
            if self._set_aside <= limit:
                return False
            self._set_aside = 0
            return True

    @contextmanager
    def counting(self) -> Iterator[Tally]:
        """Count apart what a stage of a batch does."""
        tally = Tally()
        token = _tally.set(tally)
        try:
            yield tally
        finally:
            _tally.reset(token)

    def begin(self, stage: Stage, total: int | None, size: int = 0) -> None:
        """Note that a batch enters a stage, with so many things to do, and bytes if known."""
        if (tally := _tally.get()) is not None:
            tally.total += total or 0
        self._reporter.begin(stage, total, size)

    def is_cut_off(self, things: Sized) -> bool:
        """Whether there is no use in asking an upstream for what a stage has to do."""
        if self.unreachable is not None and things:
            self.hindered(self.unreachable)
        return self.unreachable is not None

    def hindered(self, problem: Problem) -> None:
        """Note why nothing of what the stage of a batch has to do can be done."""
        if (tally := _tally.get()) is not None:
            tally.hindrance = problem

    def failed(self, stage: Stage, problems: Iterable[Problem]) -> None:
        """Record and report what failed."""
        found = list(problems)
        self.record(stage, found)
        for problem in found:
            self._reporter.problem(stage, problem)

    def record(self, stage: Stage, problems: Sequence[Problem]) -> None:
        """Record what failed and was reported already."""
        if problems:
            if (tally := _tally.get()) is not None:
                tally.failed |= {(each.project, each.file): each for each in problems}
            self._keep(stage, problems)

    def record_together(self, stage: Stage, problem: Problem) -> None:
        """Record what concerns no project, in one line with what was recorded so before."""
        with self._lock:
            self._together.append(problem.message)
            message = "; ".join(self._together)
        self.record(stage, [msgspec.structs.replace(problem, message=message)])

    def _keep(self, stage: Stage, problems: Sequence[Problem]) -> None:
        self._catalog.apply(
            lambda connection: runs.add_failures(connection, self._run_id, stage, problems)
        )


class KeptLedger(Ledger):
    """The ledger of a rehearsal, which leaves no record: failures are kept in here."""

    def __init__(self, catalog: Catalog, reporter: Reporter) -> None:
        super().__init__(catalog, 0, reporter)
        self.kept: list[Problem] = []

    def _keep(self, stage: Stage, problems: Sequence[Problem]) -> None:  # noqa: ARG002
        self.kept.extend(problems)
