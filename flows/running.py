"""What the flows share: a run of the catalog within a flow run.

A flow run and its run in the catalog have one name and tell the same story; which state a flow
run ends in is said in `flows.ending`, what it shows meanwhile in `flows.reporter`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import httpx
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException, TerminationSignal
from prefect.logging.loggers import flow_run_logger, get_logger
from prefect.states import Crashed

from flows import summary as summaries
from flows.console import outlive_reader
from flows.reporter import FlowReporter
from flows.witness import watching
from pypimirror import config as configuration
from pypimirror.catalog import runs
from pypimirror.model import Stage
from pypimirror.stages import record
from pypimirror.stages.run import Run
from pypimirror.stages.sequence import Batch
from pypimirror.stages.summary import Summary
from pypimirror.workers import Cancelled
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


def perform(
    command: str,
    config: str,
    work: Callable[[Run], None],
    names: Sequence[str] = (),
    *,
    retry: str | None = None,
    options: Sequence[str] = (),
) -> Summary:
    """Do a run of the catalog in the flow run of this context, and show how it ended.

    `config` is the file that a flow was given; empty means the one that PYPIMIRROR_CONFIG names
    where the flow runs, else `pypimirror.toml` in the project directory. A flow run that is retried
    does what its last run left undone, else what is left of the run that `retry` names. Raises what
    `pypimirror.stages.record.sync` does; a signal that ends the flow run cancels its run.
    """
    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None
    flow_run = context.flow_run
    file = _configuration_file(config).absolute()
    settings = configuration.load(file)
    trigger = trigger_of(flow_run)
    if flow_run.deployment_id is not None:  # a process of a worker's own
        outlive_reader()

    def in_flow_run(run: Run) -> None:
        _introduce(context, run, trigger)
        worker = os.getppid() if flow_run.deployment_id else None
        with watching(str(flow_run.id), run.name, file, worker):
            try:
                work(run)
            # Rich exits where nobody reads the log any more: the worker is gone.
            except (TerminationSignal, SystemExit) as end:
                raise Cancelled("cancelled") from end

    with FlowReporter(flow_run_logger(flow_run)) as reporter:
        result = record.sync(
            settings,
            names,
            in_flow_run,
            trigger=trigger,
            command=command,
            reporter=reporter,
            retry=last_run_of(flow_run, command) or retry,
            options=options,
        )
    if result.run:
        summaries.show(result, command, settings.directory)
    return result


def call_stage(run: Run, stage: Stage, batch: Batch) -> None:
    """Do one stage for one batch, as a task run."""
    call(TASKS[stage], run, batch)


def trigger_of(flow_run: FlowRun) -> str:
    """What started a flow run, for the run history."""
    if flow_run.run_count > 1:
        return "retry"
    if flow_run.deployment_id is None:
        return "prefect"
    return "schedule" if flow_run.auto_scheduled else "deployment"


def last_run_of(flow_run: FlowRun, command: str) -> str | None:
    """Return the run in the catalog that a flow run has made before it was retried.

    That gave it its name; a flow run that never got so far has another, and begins anew.
    """
    if flow_run.run_count < 2:
        return None
    found = re.fullmatch(rf"{command}-(\d{{8}}-\d{{6}}-[0-9a-f]{{4,6}})", flow_run.name)
    return found[1] if found else None


def _configuration_file(config: str) -> Path:
    return Path(config or os.environ.get("PYPIMIRROR_CONFIG") or configuration.DEFAULT_FILE)


def _introduce(context: FlowRunContext, run: Run, trigger: str) -> None:
    """Give a flow run the name of its run in the catalog, and tags to filter by."""
    assert context.flow_run is not None
    name = f"{run.command}-{run.name}"
    mirror = f"mirror:{run.config.directory}"
    tags = sorted({*context.flow_run.tags, f"trigger:{trigger}", mirror})
    try:
        context.client.update_flow_run(context.flow_run.id, name=name, tags=tags)
        context.flow_run.name, context.flow_run.tags = name, tags
        _close_crashed(context, run, mirror)
    except (httpx.HTTPError, PrefectException) as error:
        get_logger("pypimirror").warning("Prefect does not hear of the run: %s", error)


def _close_crashed(context: FlowRunContext, run: Run, mirror: str) -> None:
    """Close flow runs that nobody could close: those of runs that the catalog calls crashed."""
    which = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[mirror]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])),
    )
    found = context.client.read_flow_runs(flow_run_filter=which)
    for flow_run in cast("list[FlowRun]", found):
        with run.catalog.read() as connection:
            row = runs.find(connection, flow_run.name.partition("-")[2])
        if row is not None and row.state == runs.CRASHED:
            state: State[Any] = Crashed(message="Its process ended without a word")
            context.client.set_flow_run_state(flow_run.id, state, force=True)
