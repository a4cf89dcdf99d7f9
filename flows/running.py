"""Code that the flows share: a run of the catalog within a flow run.

A flow run and its run in the catalog have the same name and the same result. `flows.ending` chooses
the final state, and `flows.reporter` shows the progress.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httpx
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.context import FlowRunContext
from prefect.exceptions import Pause, PrefectException, TerminationSignal
from prefect.logging.loggers import flow_run_logger, get_logger

from flows import ending
from flows import summary as summaries
from flows.console import outlive_reader
from flows.ending import SkippedError
from flows.reporter import FlowReporter
from flows.state_watcher import StateWatcher
from flows.witness import Witness, watching
from pypimirror.catalog.queries import runs
from pypimirror.config import settings as configuration
from pypimirror.domain.errors import LockedError
from pypimirror.domain.model import Stage
from pypimirror.pipeline import lifecycle
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.summary import Summary
from pypimirror.system.workers import Cancelled
from tasks.discover import discover
from tasks.download import download
from tasks.publish import publish
from tasks.stage import StageTask, call
from tasks.verify import verify

TASKS: dict[Stage, StageTask] = {
    Stage.DISCOVER: discover,
    Stage.DOWNLOAD: download,
    Stage.VERIFY: verify,
    Stage.PUBLISH: publish,
}


#: How long a run that a user started waits for another run, by default.
AD_HOC = "6h"


def perform(
    command: str,
    config: str,
    work: Callable[[Run], None],
    names: Sequence[str] = (),
    *,
    retry: str | None = None,
    options: Sequence[str] = (),
    wait: str | None = None,
) -> Summary:
    """Do a run of the catalog in the flow run of this context, and show its result.

    `config` is the file that the flow was given. "" means the file that PYPIMIRROR_CONFIG names
    where the flow runs, else `pypimirror.toml` in the project directory. A flow run that is retried
    does the work that its last run left; otherwise `retry` may name a run whose unfinished work is
    done. Raises the errors of `pypimirror.pipeline.lifecycle.sync`. A signal that ends the flow run
    cancels its run.

    If another run works on the mirror, it waits as long as `wait` says. Raises `SkippedError` if it
    should not wait, or if a schedule made it: the next one comes. Raises `Pause` if the flow run
    was suspended.
    """
    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None
    flow_run = context.flow_run
    file = configuration_file(config)
    settings = configuration.load(file)
    trigger = trigger_of(flow_run)
    patience = configuration.seconds(_patience(wait, trigger), "wait") or 0.0
    with attended(flow_run, file) as attendance:
        watcher = attendance.watcher

        def in_flow_run(run: Run) -> None:
            attendance.witness.knows(run.name)
            _introduce(context, run, trigger)
            with attendance.cancelling():
                work(run)

        try:
            result = lifecycle.sync(
                settings,
                names,
                in_flow_run,
                trigger=trigger,
                command=command,
                reporter=attendance.reporter,
                retry=last_run_of(flow_run, command) or retry,
                options=options,
                wait=patience,
            )
        except LockedError as error:
            if patience and trigger != "schedule":
                raise
            raise SkippedError(str(error), error.holder) from error
        except (TerminationSignal, KeyboardInterrupt) as end:
            watcher.raise_if_suspended()
            raise Cancelled("cancelled before it began") from end
        watcher.raise_if_suspended()
    if result.run:
        summaries.show(result, command, settings.directory)
    return result


@dataclass(frozen=True)
class Attendance:
    """The observers of a flow run: its state watcher, its witness, and its reporter."""

    reporter: FlowReporter
    witness: Witness
    watcher: StateWatcher

    @contextmanager
    def cancelling(self) -> Iterator[None]:
        """Turn every error that ends a flow run early into `Cancelled`."""
        try:
            yield
        # Rich exits if nobody reads the log any more: the worker is gone.
        except (TerminationSignal, SystemExit) as end:
            self.witness.stays()
            raise Cancelled("cancelled") from end
        except Pause as pause:
            self.watcher.note(pause)
            raise Cancelled("suspended") from pause


@contextmanager
def attended(flow_run: FlowRun, file: Path) -> Iterator[Attendance]:
    """Watch a flow run of this process. `file` is its configuration."""
    worker = None
    if flow_run.deployment_id is not None:  # a worker started this process
        worker = os.getppid()
        outlive_reader()
        ending.log_no_states()
    with (
        FlowReporter(flow_run_logger(flow_run)) as reporter,
        watching(str(flow_run.id), file, worker) as witness,
        StateWatcher(flow_run) as watcher,
    ):
        yield Attendance(reporter, witness, watcher)


def _patience(wait: str | None, trigger: str) -> str | None:
    """Return how long a flow run waits for another one: `wait`, else a default by its trigger."""
    if wait is not None:
        return wait
    return AD_HOC if trigger in ("deployment", "retry") else None


def call_stage(run: Run, stage: Stage, batch: Batch) -> None:
    """Run one stage for one batch, as a task run."""
    call(TASKS[stage], run, batch)


def trigger_of(flow_run: FlowRun) -> str:
    """Return what started a flow run, for the history."""
    if _is_named_after_a_run(flow_run) or flow_run.run_count > 1:
        return "retry"
    if flow_run.deployment_id is None:
        return "prefect"
    return "schedule" if flow_run.auto_scheduled else "deployment"


def last_run_of(flow_run: FlowRun, command: str) -> str | None:
    """Return the run in the catalog that a flow run made before it was retried or resumed.

    The flow run has its name. A flow run that never had a run has another name, and starts anew.
    Prefect counts how often a flow run was started, but not how often it was resumed.
    """
    found = _is_named_after_a_run(flow_run)
    return found["run"] if found and found["command"] == command else None


def _is_named_after_a_run(flow_run: FlowRun) -> re.Match[str] | None:
    return re.fullmatch(
        r"(?P<command>[a-z]+)-(?P<run>\d{8}-\d{6}-[0-9a-f]{4,6})", flow_run.name or ""
    )


def configuration_file(config: str) -> Path:
    """Return the configuration file of a flow run that was given `config`."""
    named = config or os.environ.get("PYPIMIRROR_CONFIG") or configuration.DEFAULT_FILE
    return Path(named).absolute()


def _introduce(context: FlowRunContext, run: Run, trigger: str) -> None:
    """Give a flow run the name of its run in the catalog, and tags for filters."""
    assert context.flow_run is not None
    name = f"{run.command}-{run.name}"
    mirror = f"mirror:{run.config.directory}"
    tags = sorted({*context.flow_run.tags, f"trigger:{trigger}", mirror})
    try:
        context.client.update_flow_run(context.flow_run.id, name=name, tags=tags)
        context.flow_run.name, context.flow_run.tags = name, tags
        _close_left(context, run, mirror)
    except (httpx.HTTPError, PrefectException) as error:
        get_logger("pypimirror").warning("Prefect was not told of the run: %s", error)


def _close_left(context: FlowRunContext, run: Run, mirror: str) -> None:
    """Close flow runs that nobody else closes, with the result in the catalog.

    Their processes were killed, or Prefect's server was away when they ended. A flow run that was
    retried has started after its run ended: it waits for this one and is not closed.
    """
    which = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[mirror]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])),
    )
    found = context.client.read_flow_runs(flow_run_filter=which)
    for flow_run in cast("list[FlowRun]", found):
        named = _is_named_after_a_run(flow_run)
        if named is None or flow_run.state is None:
            continue
        with run.catalog.read() as connection:
            row = runs.find(connection, named["run"])
        began = flow_run.state.timestamp.timestamp()
        if row is not None and row.ended_at is not None and began <= row.ended_at:
            state = ending.as_recorded(row.state, row.message or "")
            context.client.set_flow_run_state(flow_run.id, state, force=True)
