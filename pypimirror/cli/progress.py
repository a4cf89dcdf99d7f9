"""Showing a run at a terminal: bars while it works, lines for what fails. Nothing else does UI."""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pypimirror.cli.options import err
from pypimirror.cli.show import amount, failure
from pypimirror.model import Problem, Stage
from pypimirror.stages.reporter import LogReporter

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

#: Problems that are shown while a run goes on; all of them are in its summary and record.
_SHOWN = 20


class TerminalReporter(LogReporter):
    """A bar for each stage, and one for the bytes."""

    def __init__(self, quiet: bool) -> None:
        self._lock = threading.Lock()
        self._quiet = quiet
        self._shown = 0
        self._progress = None if quiet or not sys.stderr.isatty() else _bars()
        self._tasks: dict[Stage, TaskID] = {}
        self._totals: dict[Stage, int] = {}
        self._received = 0

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def begin(self, stage: Stage, total: int | None) -> None:
        """Lengthen a stage's bar by what the next batch brings."""
        if self._progress is None:
            return
        with self._lock:
            if stage not in self._tasks:
                self._tasks[stage] = self._progress.add_task(stage.value, total=None, size="")
                self._totals[stage] = 0
            self._totals[stage] += total or 0
            self._progress.update(self._tasks[stage], total=self._totals[stage] or None)

    def advance(self, stage: Stage, things: int = 0, size: int = 0) -> None:
        """Move a stage's bar."""
        if self._progress is None:
            return
        with self._lock:
            self._received += size
            if stage not in self._tasks:
                return
            text = amount(self._received) if stage is Stage.DOWNLOAD else ""
            self._progress.update(self._tasks[stage], advance=things, size=text)

    def announce(self, message: str) -> None:
        """Print it."""
        if not self._quiet:
            err.print(message, markup=False)

    def problem(self, stage: Stage, problem: Problem) -> None:
        """Print the first problems; the rest is in the summary."""
        with self._lock:
            self._shown += 1
            if self._shown <= _SHOWN:
                err.print(
                    failure(
                        stage.value,
                        problem.project,
                        problem.file,
                        problem.reason.value,
                        problem.message,
                    ),
                    style="yellow",
                    markup=False,
                )


def _bars() -> Progress:
    """Return the bars, none of them shown yet."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description:<9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[size]}"),
        TimeElapsedColumn(),
        console=err,
        transient=True,
    )
