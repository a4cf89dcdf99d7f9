"""The interface through which a run reports its progress: to progress bars or to the flow's log."""

from __future__ import annotations

import logging
from typing import Protocol

from pypimirror.domain.model import Problem, Stage

log = logging.getLogger("pypimirror")


class Reporter(Protocol):
    """Receives the progress of a run. Several threads may call it."""

    def expect(self, projects: int) -> None:
        """Note how many projects have work in this run."""

    def finished(self, projects: int) -> None:
        """Note how many more projects have gone through all stages."""

    def begin(self, stage: Stage, total: int | None, size: int = 0) -> None:
        """Note that a batch enters a stage, with the number of things to do and their bytes if
        known.
        """

    def advance(self, stage: Stage, things: int = 0, size: int = 0) -> None:
        """Note that more things are done and more bytes have arrived."""

    def problem(self, stage: Stage, problem: Problem) -> None:
        """Note a failure. The run goes on."""

    def note(self, level: str, message: str) -> None:
        """Note a line for the log. `level` is the lower-case name of a level of the logging
        module.
        """

    def announce(self, message: str) -> None:
        """Tell the user what the run is about to do."""


class LogReporter:
    """Writes to the log. It ignores progress."""

    def expect(self, projects: int) -> None:
        """Do nothing."""

    def finished(self, projects: int) -> None:
        """Do nothing."""

    def begin(self, stage: Stage, total: int | None, size: int = 0) -> None:  # noqa: ARG002
        """Log that a stage begins."""
        log.debug("%s: begins%s", stage, "" if total is None else f" with {total}")

    def advance(self, stage: Stage, things: int = 0, size: int = 0) -> None:
        """Do nothing."""

    def problem(self, stage: Stage, problem: Problem) -> None:
        """Log a failure."""
        log.warning("%s: %s: %s", stage, problem.reason, problem.message)

    def note(self, level: str, message: str) -> None:
        """Log the line."""
        log.log(logging.getLevelNamesMapping().get(level.upper(), logging.INFO), message)

    def announce(self, message: str) -> None:
        """Log the message."""
        self.note("info", message)
