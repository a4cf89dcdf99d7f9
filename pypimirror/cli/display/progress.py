"""Shows the progress of a run: bars at a terminal, and messages.

Failures are only counted here: the summary at the end shows them. With `-v`, the log also shows
them as they happen.
"""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pypimirror.cli.display.counts import ProgressCounts
from pypimirror.cli.display.output import err
from pypimirror.domain.model import Problem, Stage
from pypimirror.pipeline.context.reporter import LogReporter
from pypimirror.system import clock, interrupts

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

log = logging.getLogger("pypimirror")

#: The bar of all stages together.
_ALL = "projects"


class TerminalReporter(LogReporter):
    """Shows a bar for the run and one for each stage; no bars without a terminal."""

    def __init__(self, quiet: bool) -> None:
        self._lock = threading.Lock()
        self._quiet = quiet
        self._progress = None if quiet or not err.is_terminal else _bars()
        self._at_stake = ExitStack()
        self._counts: dict[str, ProgressCounts] = {}
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        if self._progress is not None:
            # A signal must not leave the cursor hidden.
            self._at_stake.enter_context(interrupts.raised())
            self._at_stake.callback(self._progress.stop)
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._at_stake.close()

    def expect(self, projects: int) -> None:
        """Show a bar for the whole run, if it has more than one project."""
        if projects > 1:
            self._change(_ALL, things=projects)

    def finished(self, projects: int) -> None:
        """Move the bar of the whole run."""
        if _ALL in self._counts:
            self._change(_ALL, done=projects)

    def begin(self, stage: Stage, total: int | None, size: int = 0) -> None:
        """Lengthen a stage's bar by the things and bytes of the next batch."""
        self._change(stage.value, things=total or 0, size=size)

    def advance(self, stage: Stage, things: int = 0, size: int = 0) -> None:
        """Move a stage's bar."""
        if stage.value in self._counts:
            self._change(stage.value, done=things, received=size)

    def announce(self, message: str) -> None:
        """Print a message, unless the run is quiet."""
        if not self._quiet:
            err.print(message, markup=False)

    def problem(self, stage: Stage, problem: Problem) -> None:
        """Log a failure and count it on the bar; the summary shows it."""
        log.info("%s: %s: %s", stage.value, problem.reason.value, problem.message)
        self._change(stage.value, failed=1)

    def _change(self, name: str, **more: int) -> None:
        if self._progress is None:
            return
        with self._lock:
            if not self._tasks:
                self._add_tasks(self._progress)
            counts = self._counts.setdefault(name, ProgressCounts())
            counts.add(more, clock.steady())
            self._progress.update(
                self._tasks[name],
                total=counts.total,
                completed=counts.completed,
                visible=True,
                counts=counts,
            )

    def _add_tasks(self, progress: Progress) -> None:
        """Add all bars in their order. Each is shown when it has something to show."""
        for name in (_ALL, *(stage.value for stage in Stage)):
            self._tasks[name] = progress.add_task(
                name, total=None, visible=False, counts=ProgressCounts()
            )


def _bars() -> Progress:
    from pypimirror.cli.display.bars import bars

    return bars(err.console)
