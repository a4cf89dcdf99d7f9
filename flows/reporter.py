"""The progress of a flow run for Prefect: log lines, and a progress bar for a long run.

Messages of a stage go to the log of its task run. Messages of child processes, which come from
other threads, go to the log of the flow run.
"""

from __future__ import annotations

import logging
import threading
from contextvars import copy_context
from types import TracebackType
from typing import Self, cast
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import TaskRunContext
from prefect.exceptions import PrefectException
from prefect.logging.loggers import LoggingAdapter, task_run_logger

from pypimirror.domain.model import Problem, Stage
from pypimirror.pipeline.context.reporter import LogReporter
from pypimirror.pipeline.executors.loop import BATCH_SIZE

#: Seconds between two API calls about progress. Shorter runs make none.
EVERY = 5.0

#: Seconds that the end of a run waits for the last of these calls.
_PATIENCE = 2.0

#: Most problems that are logged one by one. The run's record has all of them.
SHOWN = 200


class FlowReporter(LogReporter):
    """Writes to the flow run's log, and after a while to a progress artifact.

    A separate thread updates the artifact, so no stage waits for a slow API. Enter it in the
    context of the flow run.
    """

    def __init__(self, log: logging.Logger | LoggingAdapter) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._shown = 0
        self._total = self._done = 0  # things of stages
        self._projects = self._finished = 0
        self._ended = threading.Event()
        self._artifact: UUID | None = None
        # The artifact finds its flow run through this context.
        self._telling = threading.Thread(
            target=copy_context().run, args=(self._tell,), daemon=True, name="progress"
        )

    def __enter__(self) -> Self:
        self._telling.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._telling.join(_PATIENCE)

    def expect(self, projects: int) -> None:
        """Note the number of projects with work, in all rounds of the run."""
        with self._lock:
            self._projects += projects

    def finished(self, projects: int) -> None:
        """Move the progress bar of a run with several batches."""
        with self._lock:
            self._finished += projects

    def begin(self, stage: Stage, total: int | None, size: int = 0) -> None:  # noqa: ARG002
        """Log the number of things that a stage has to do."""
        if total:
            self._logger().info("%s: %d to do", stage.value, total)
        with self._lock:
            self._total += total or 0

    def advance(self, stage: Stage, things: int = 0, size: int = 0) -> None:  # noqa: ARG002
        """Move the progress bar. The artifact follows a little later."""
        with self._lock:
            self._done += things

    def problem(self, stage: Stage, problem: Problem) -> None:
        """Log a failure."""
        with self._lock:
            self._shown += 1
            shown = self._shown
        where = problem.file or problem.project or "upstream"
        if shown <= SHOWN:
            log = self._logger()
            log.warning("%s: %s: %s: %s", stage.value, where, problem.reason, problem.message)
        elif shown == SHOWN + 1:
            self._log.warning("More failed; 'pypimirror runs show last' lists all of it")

    def note(self, level: str, message: str) -> None:
        """Log the line."""
        number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
        self._logger().log(number, "%s", message)

    def _logger(self) -> logging.Logger | LoggingAdapter:
        """Return the log of this thread's stage, else the flow run's."""
        context = TaskRunContext.get()
        return self._log if context is None else task_run_logger(context.task_run)

    def _tell(self) -> None:
        """Update the artifact until the run has ended."""
        while not self._ended.wait(EVERY):
            self._show()
        if self._artifact is not None:
            self._show()

    def _show(self) -> None:
        percent = self._percent()
        try:
            if self._artifact is None:
                description = "Of the projects, or of what their only batch has to do."
                created = create_progress_artifact(percent, description=description)
                self._artifact = cast(UUID, created)
            else:
                update_progress_artifact(self._artifact, percent)
        # RuntimeError: the client was closed, because the run has ended.
        except (httpx.HTTPError, PrefectException, RuntimeError) as error:
            self._log.debug("no progress shown: %s", error)

    def _percent(self) -> float:
        """Return the share of projects that are done; with one batch, of things in its stages."""
        with self._lock:
            if self._projects > BATCH_SIZE:
                done, total = self._finished, self._projects
            else:
                done, total = self._done, self._total
        return 100.0 * min(done, total) / max(total, 1)
