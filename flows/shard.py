"""The flow of a shard: a worker of a sync that another flow run coordinates (`flows.shards`).

It is the entrypoint of the deployment `sync/shard`. It takes batches of the run's projects from the
catalog until none is left, with a task run for each stage of each batch.

* If it fails, Prefect repeats it in the same process. Each attempt is a worker of its own in the
  history.
* If it is cancelled, or its process or machine dies, its unfinished batches go to other workers.
  Nothing else is lost. Prefect does not repeat it.
* If the run ends before it does, it writes nothing more, and ends.
"""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.states import Cancelled as CancelledState
from prefect.states import Completed, Failed

from flows import ending, running
from pypimirror.catalog import states
from pypimirror.catalog.claims import ClaimLostError
from pypimirror.config import settings as configuration
from pypimirror.domain.model import PypimirrorError, Stage
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.executors import joining
from pypimirror.pipeline.executors.joining import RunOverError
from pypimirror.pipeline.run import Run, StoppedError
from pypimirror.system.workers import Cancelled

#: How often Prefect repeats a shard that failed, and after how many seconds.
RETRIES, DELAY = 2, 10


@flow(
    name="sync",
    retries=RETRIES,
    retry_delay_seconds=DELAY,
    persist_result=False,
    result_serializer="json",
)
def shard(
    config: str = "pypimirror.toml",
    run: str = "",
    number: int = 1,
    batch: int = 1,
    step: int = 1,
    agreed: dict[str, str] | None = None,
) -> State[Any]:
    """Work on a sync that is under way, until none of its projects is left.

    A sync with `[workers] shards` starts this flow. `config` is the mirror's configuration file on
    this machine. "" means the file that PYPIMIRROR_CONFIG names where the flow runs, else
    `pypimirror.toml` in the project directory. `run` is the name of the sync's run, and `number`
    is the number of the shard. Its batches are numbered from `batch` on, in steps of `step`.
    `agreed` has digests of the keys on which this configuration and that of the sync must agree.
    """
    try:
        return _work(config, run, str(number), batch, step, agreed or {})
    except RunOverError as error:
        return CancelledState(name="Skipped", message=f"Skipped: {error}")
    except Cancelled:
        return CancelledState(message="Cancelled; others do the rest of its work")
    except ClaimLostError as error:
        # Perhaps its run has ended. If not, another attempt takes new claims.
        if joining.is_over(configuration.load(running.configuration_file(config)), run):
            return CancelledState(message=f"Cancelled: run {run} has ended")
        return Failed(message=str(error))
    except PypimirrorError as error:
        return Failed(message=str(error))


def _work(
    config: str, name: str, worker: str, batch: int, step: int, agreed: joining.Agreed
) -> State[Any]:
    """Take batches of a run until none is left, in the flow run of this context."""
    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None
    file = running.configuration_file(config)
    settings = configuration.load(file)
    with running.attended(context.flow_run, file) as attendance:
        joined = joining.join(
            settings,
            name,
            executor=states.SHARD,
            worker=worker,
            agreed=agreed,
            reporter=attendance.reporter,
        )
        try:
            with joined as (run, loop), attendance.cancelling():
                loop.work_off(run, _call, tuple(Stage), batch, small_ends=True, step=step)
        finally:
            attendance.watcher.raise_if_suspended()
    return Completed(message=ending.done(run.ledger.counts))


def _call(run: Run, stage: Stage, batch: Batch) -> None:
    """Run a stage as a task run. Raises `StoppedError` if this machine can do nothing more.

    Perhaps another machine can. So its unfinished batches must not count as done.
    """
    running.call_stage(run, stage, batch)
    if (problem := run.ledger.unreachable or run.ledger.no_room) is not None:
        raise StoppedError(problem)
