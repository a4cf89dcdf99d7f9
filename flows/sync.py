"""The flow `sync`: the sequence of `pypimirror.stages`, each stage of each batch a task run.

This is the entrypoint of the deployments in `prefect.yaml`. `run_sync` runs the same flow in this
process, for `pypimirror sync --prefect`. The order of the stages is not written here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import httpx
from prefect import flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException, TerminationSignal
from prefect.logging.loggers import flow_run_logger, get_logger
from prefect.settings import PREFECT_API_URL
from prefect.states import Failed

from flows.ending import final_state
from flows.reporter import FlowReporter
from pypimirror import config as configuration
from pypimirror.model import PypimirrorError, Stage
from pypimirror.stages import run as stages
from pypimirror.stages import sequence
from pypimirror.stages.run import Run, Summary
from pypimirror.stages.sequence import Batch
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

#: Where a flow run leaves how it ended, for `run_sync`.
_ended: ContextVar[list[Summary | PypimirrorError]] = ContextVar("ended")


class PrefectUnreachableError(PypimirrorError):
    """The Prefect API does not answer; the message says where it was looked for."""


@flow(name="sync", persist_result=False)
def sync(config: str = "pypimirror.toml", projects: list[str] | None = None) -> State[Any]:
    """Bring the mirror up to date: discover, download, verify, publish.

    `config` is the mirror's configuration file; empty means the one that PYPIMIRROR_CONFIG names
    where the flow runs, else `pypimirror.toml` in the project directory. `projects` limits the
    run to some of the projects that it selects.
    """
    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None
    flow_run = context.flow_run
    ended = _ended.get([])
    try:
        summary = stages.sync(
            configuration.load(_configuration_file(config)),
            projects or (),
            lambda run: _work(run, context),
            trigger=_trigger(flow_run),
            reporter=FlowReporter(flow_run_logger(flow_run)),
        )
    except PypimirrorError as error:  # there was no run
        ended.append(error)
        return Failed(message=str(error))
    ended.append(summary)
    return final_state(summary)


def run_sync(config: str, projects: Sequence[str]) -> Summary:
    """Run the flow in this process; raises what `pypimirror.stages.run.sync` does.

    Raises `PrefectUnreachableError` where there is no Prefect API to keep the flow run.
    """
    ended: list[Summary | PypimirrorError] = []
    token = _ended.set(ended)
    try:
        state = sync(config, list(projects), return_state=True)
    except (httpx.HTTPError, PrefectException, RuntimeError) as error:
        if not ended:
            raise PrefectUnreachableError(
                f"the Prefect API {PREFECT_API_URL.value() or '(temporary)'} cannot be used: "
                f"{error}; start it, or sync with --inline"
            ) from error
        get_logger("pypimirror").warning("Prefect did not hear how the run ended: %s", error)
    else:
        if not ended:
            state.result()  # raises the fault of the program that ended the flow
    finally:
        _ended.reset(token)
    if isinstance(ended[0], PypimirrorError):
        raise ended[0]
    return ended[0]


def _configuration_file(config: str) -> Path:
    return Path(config or os.environ.get("PYPIMIRROR_CONFIG") or configuration.DEFAULT_FILE)


def _trigger(flow_run: FlowRun) -> str:
    """What started a flow run, for the run history."""
    if flow_run.deployment_id is None:
        return "prefect"
    return "schedule" if flow_run.auto_scheduled else "deployment"


def _work(run: Run, context: FlowRunContext) -> None:
    """Do the work of a run; a signal that ends the flow run cancels it."""
    _name_flow_run(context, f"sync-{run.name}")
    try:
        sequence.sync(run, _call)
    except TerminationSignal as signal:
        raise Cancelled("cancelled") from signal


def _call(run: Run, stage: Stage, batch: Batch) -> None:
    call(TASKS[stage], run, batch)


def _name_flow_run(context: FlowRunContext, name: str) -> None:
    """Give a flow run the name that its run has in the catalog."""
    assert context.flow_run is not None
    try:
        context.client.update_flow_run(context.flow_run.id, name=name)
    except (httpx.HTTPError, PrefectException) as error:
        get_logger("pypimirror").warning("The flow run keeps its name: %s", error)
    else:
        context.flow_run.name = name
