"""The flow `sync`: the sequence of `pypimirror.pipeline`, each stage of each batch a task run.

This is the entrypoint of the deployments in `prefect.yaml`. `run_sync` runs the same flow in this
process, for `pypimirror sync --prefect`. The order of the stages is not written here.
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

from flows import ending, running
from pypimirror.domain.addresses import redacted
from pypimirror.domain.model import PypimirrorError
from pypimirror.pipeline import sequence
from pypimirror.pipeline.preview import execute_plan
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.summary import Summary
from pypimirror.system.workers import Cancelled

#: Where a flow run leaves how it ended, for `run_sync`.
_ended: ContextVar[list[Summary | PypimirrorError]] = ContextVar("ended")


class PrefectUnreachableError(PypimirrorError):
    """The Prefect API does not answer; the message says where it was looked for."""


@flow(name="sync", persist_result=False, result_serializer="json")
def sync(
    config: str = "pypimirror.toml",
    projects: list[str] | None = None,
    retry: str | None = None,
    plan: str | None = None,
    wait: str | None = None,
) -> State[Any]:
    """Bring the mirror up to date: discover, download, verify, publish.

    `config` is the mirror's configuration file; empty means the one that PYPIMIRROR_CONFIG names
    where the flow runs, else `pypimirror.toml` in the project directory. `projects` limits the
    run to some of the projects that it selects. `retry` names an earlier run: only what failed or
    was not reached in that one is done, as by `pypimirror retry`. `plan` is a file that
    `pypimirror sync --dry-run --json` wrote: exactly that is done, or nothing. `wait` says how
    long to wait where another run works on the mirror, as in "30m"; by default 6 hours for a run of
    a deployment, and not at all for one that a schedule made: that one is skipped.
    """
    ended = _ended.get([])
    try:
        work = _work
        if plan is not None:
            planned = execute_plan.read(Path(plan))
            projects, work = planned.projects, partial(_apply, planned)
        summary = running.perform("sync", config, work, projects or (), retry=retry, wait=wait)
    except PypimirrorError as error:  # there was no run
        ended.append(error)
        return ending.without_run(error)
    ended.append(summary)
    return ending.final_state(summary)


def _work(run: Run) -> None:
    sequence.sync(run, running.call_stage)


def _apply(planned: execute_plan.Planned, run: Run) -> None:
    execute_plan.apply(run, planned, running.call_stage)


def run_sync(
    config: str,
    projects: Sequence[str],
    retry: str | None = None,
    plan: str | None = None,
    wait: str | None = None,
) -> Summary:
    """Run the flow in this process; raises what `pypimirror.pipeline.lifecycle.sync` does.

    Raises `PrefectUnreachableError` where there is no Prefect API to keep the flow run.
    """
    ended: list[Summary | PypimirrorError] = []
    token = _ended.set(ended)
    try:
        state = sync(config, list(projects), retry, plan, wait, return_state=True)
    except (httpx.HTTPError, PrefectException, RuntimeError) as error:
        if not ended:
            api = PREFECT_API_URL.value() or "(temporary)"
            said = f"the Prefect API {api} cannot be used: {error}; start it, or sync with --inline"
            raise PrefectUnreachableError(redacted(said)) from error
        get_logger("pypimirror").warning(
            "Prefect did not hear how the run ended: %s", redacted(str(error))
        )
    else:
        if not ended:
            state.result()  # raises the fault of the program that ended the flow
    finally:
        _ended.reset(token)
    if isinstance(ended[0], Cancelled):
        raise KeyboardInterrupt from ended[0]
    if isinstance(ended[0], PypimirrorError):
        raise ended[0]
    return ended[0]
