"""The flow `sync`: the sequence of `pypimirror.pipeline`, with a task run for each stage of each
batch.

It is the entrypoint of the deployments in `prefect.yaml`. `run_sync` runs the same flow in this
process, for `pypimirror sync --prefect`. The order of the stages is defined elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.exceptions import PrefectException
from prefect.logging.loggers import get_logger
from prefect.settings import PREFECT_API_URL

from flows import ending, running, shards
from pypimirror.domain.addresses import redacted
from pypimirror.domain.model import PypimirrorError
from pypimirror.pipeline import sequence
from pypimirror.pipeline.preview import execute_plan
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.summary import Summary
from pypimirror.system.workers import Cancelled

#: The result of a flow run, for `run_sync`.
_ended: ContextVar[list[Summary | PypimirrorError]] = ContextVar("ended")


class PrefectUnreachableError(PypimirrorError):
    """The Prefect API does not answer. The message has its address."""


@flow(name="sync", persist_result=False, result_serializer="json")
def sync(
    config: str = "pypimirror.toml",
    projects: list[str] | None = None,
    retry: str | None = None,
    plan: str | None = None,
    wait: str | None = None,
) -> State[Any]:
    """Bring the mirror up to date: discover, download, verify, publish.

    `config` is the mirror's configuration file. "" means the file that PYPIMIRROR_CONFIG names
    where the flow runs, else `pypimirror.toml` in the project directory. `projects` limits the run
    to some of the selected projects. `retry` names an earlier run: only its failures and unfinished
    work are done, as by `pypimirror retry`. `plan` is a file written by `pypimirror sync --dry-run
    --json`: exactly this plan is done, or nothing. `wait` says how long to wait for another run on
    the mirror, such as "30m". By default, a run of a deployment waits 6 hours, and a scheduled run
    is skipped.
    """
    ended = _ended.get([])
    try:
        work = partial(_work, config)
        if plan is not None:
            planned = execute_plan.read(Path(plan))
            projects, work = planned.projects, partial(_apply, planned)
        summary = running.perform("sync", config, work, projects or (), retry=retry, wait=wait)
    except PypimirrorError as error:  # there was no run
        ended.append(error)
        return ending.without_run(error)
    ended.append(summary)
    return ending.final_state(summary)


def _work(config: str, run: Run) -> None:
    sequence.sync(run, running.call_stage, shards.executor(config))


def _apply(planned: execute_plan.Planned, run: Run) -> None:
    execute_plan.apply(run, planned, running.call_stage)


def run_sync(
    config: str,
    projects: Sequence[str],
    retry: str | None = None,
    plan: str | None = None,
    wait: str | None = None,
) -> Summary:
    """Run the flow in this process. Raises the errors of `pypimirror.pipeline.lifecycle.sync`.

    Raises `PrefectUnreachableError` if there is no Prefect API for the flow run.
    """
    ended: list[Summary | PypimirrorError] = []
    token = _ended.set(ended)
    try:
        state = sync(config, list(projects), retry, plan, wait, return_state=True)
    except (httpx.HTTPError, PrefectException, RuntimeError) as error:
        if not ended:
            api = PREFECT_API_URL.value() or "(temporary)"
            said = str(error).rstrip(".")
            message = (
                f"the Prefect API {api} cannot be used: {said}; start it, or sync with --inline"
            )
            raise PrefectUnreachableError(redacted(message)) from error
        get_logger("pypimirror").warning(
            "Prefect was not told how the run ended: %s", redacted(str(error))
        )
    else:
        if not ended:
            state.result()  # raises the program error that ended the flow
    finally:
        _ended.reset(token)
    if isinstance(ended[0], Cancelled):
        raise KeyboardInterrupt from ended[0]
    if isinstance(ended[0], PypimirrorError):
        raise ended[0]
    return ended[0]
