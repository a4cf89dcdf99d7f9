"""What a flow run tells Prefect while it works: log lines, and a progress bar for a long run."""

from __future__ import annotations

import logging
import threading
import time
from typing import cast
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException
from prefect.logging.loggers import LoggingAdapter

from pypimirror.model import Problem, Stage
from pypimirror.stages.reporter import LogReporter

#: Seconds between two calls of the API for the sake of progress; shorter runs make none.
EVERY = 5.0

#: Problems that go to the log one by one; all of them are in the run's record.
SHOWN = 200


class FlowReporter(LogReporter):
    """Tells the flow run's log, and a progress artifact once a run has lasted a while."""

    def __init__(self, log: logging.Logger | LoggingAdapter) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._shown = 0
        self._total = 0
        self._done = 0
        self._told = time.monotonic()
        self._artifact: UUID | None = None

    def begin(self, stage: Stage, total: int | None) -> None:
        """Log what a stage has to do."""
        if total:
            self._log.info("%s: %d to do", stage.value, total)
        with self._lock:
            self._total += total or 0

    def advance(self, stage: Stage, things: int = 0, size: int = 0) -> None:  # noqa: ARG002
        """Move the bar, now and then."""
        with self._lock:
            self._done += things
            now = time.monotonic()
            # In another thread than the flow's, an artifact would not know its flow run.
            if now - self._told < EVERY or FlowRunContext.get() is None:
                return
            self._told = now
            self._tell(100.0 * min(self._done, self._total) / max(self._total, 1))

    def problem(self, stage: Stage, problem: Problem) -> None:
        """Log what failed."""
        with self._lock:
            self._shown += 1
            shown = self._shown
        where = problem.file or problem.project or "upstream"
        if shown <= SHOWN:
            self._log.warning("%s: %s: %s: %s", stage, where, problem.reason, problem.message)
        elif shown == SHOWN + 1:
            self._log.warning("More failed; 'pypimirror runs show last' lists all of it")

    def note(self, level: str, message: str) -> None:
        """Log it."""
        self._log.log(logging.getLevelNamesMapping().get(level.upper(), logging.INFO), message)

    def _tell(self, percent: float) -> None:
        try:
            if self._artifact is None:
                description = "Of what the batches so far had to do."
                created = create_progress_artifact(percent, description=description)
                self._artifact = cast(UUID, created)
            else:
                update_progress_artifact(self._artifact, percent)
        except (httpx.HTTPError, PrefectException) as error:
            self._log.debug("no progress shown: %s", error)
