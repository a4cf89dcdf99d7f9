"""What a run tells the outside while it works: the seam for progress bars and flow logs."""

from __future__ import annotations

import logging
from typing import Protocol

from pypimirror.domain.model import Problem, Stage

log = logging.getLogger("pypimirror")


class Reporter(Protocol):
    """Hears of a run's progress. Calls may come from several threads."""

    def expect(self, projects: int) -> None:
        """Note that so many projects have something left to do in this run."""

    def finished(self, projects: int) -> None:
        """Note that so many of them went through all stages."""

    def begin(self, stage: Stage, total: int | None, size: int = 0) -> None:
        """Note that a batch enters a stage, with so many things to do, and bytes if known."""

    def advance(self, stage: Stage, things: int = 0, size: int = 0) -> None:
        """Note that so many things are done, and so many bytes have arrived."""

    def problem(self, stage: Stage, problem: Problem) -> None:
        """Note that something failed; the run goes on."""

    def note(self, level: str, message: str) -> None:
        """Note something for the log; `level` is a name of the logging module, lower case."""

    def announce(self, message: str) -> None:
        """Say what a run is about to do, to whoever asked for it."""


class LogReporter:
    """Tells the log, and nothing of progress."""

    def expect(self, projects: int) -> None:
        """Say nothing."""

    def finished(self, projects: int) -> None:
        """Say nothing."""

    def begin(self, stage: Stage, total: int | None, size: int = 0) -> None:  # noqa: ARG002
        """Log that a stage begins."""
        log.debug("%s: begins%s", stage, "" if total is None else f" with {total}")

    def advance(self, stage: Stage, things: int = 0, size: int = 0) -> None:
        """Say nothing."""

    def problem(self, stage: Stage, problem: Problem) -> None:
        """Log what failed."""
        log.warning("%s: %s: %s", stage, problem.reason, problem.message)

    def note(self, level: str, message: str) -> None:
        """Log it."""
        log.log(logging.getLevelNamesMapping().get(level.upper(), logging.INFO), message)

    def announce(self, message: str) -> None:
        """Log it."""
        self.note("info", message)
