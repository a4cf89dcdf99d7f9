"""What the tasks of all stages share: their options, and how they get at the run.

A task's parameters are what Prefect shows and hashes: small JSON values. The run itself (an open
catalog, child processes) must not go through them, so it is handed over beside them; a task is
called directly, in the thread of the flow, and so sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.states import Failed
from prefect.tasks import exponential_backoff

from pypimirror.domain.model import PypimirrorError, Stage
from pypimirror.pipeline import sequence
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.run import Run

StageTask = Task[[int, int], State[Any] | None]

#: How often a stage is tried again after a fault that nobody foresaw.
RETRIES = 3

#: Seconds before the first of these tries; each further one waits twice as long. The longest wait
#: is one that a cancelled run may have to sit out, where batches are side by side.
BACKOFF = 0.5

_at_hand: ContextVar[tuple[Run, Batch]] = ContextVar("at_hand")


def call(stage_task: StageTask, run: Run, batch: Batch) -> None:
    """Run a stage's task for a batch. Directly: a submitted task would not hear a signal."""
    token = _at_hand.set((run, batch))
    try:
        stage_task(batch.number, len(batch.projects))
    finally:
        _at_hand.reset(token)


def perform(stage: Stage) -> State[Any] | None:
    """Do the stage for the run and the batch at hand; the body of each task.

    Returns the state Failed where nothing of it could be done. That is for those who look at the
    task runs: what becomes of the flow run is decided by all that its run has done.
    """
    run, batch = _at_hand.get()
    problem = sequence.perform(run, stage, batch)
    return None if problem is None else Failed(message=problem.message)


def stage_task(stage: Stage) -> Callable[[Callable[[int, int], State[Any] | None]], StageTask]:
    """Make a function the task of a stage."""
    return task(
        name=stage.value,
        task_run_name=f"{stage.value}-{{batch}}",
        retries=RETRIES,
        retry_delay_seconds=exponential_backoff(backoff_factor=BACKOFF),
        retry_jitter_factor=0.5,
        retry_condition_fn=is_worth_a_retry,
        # A stage reads from the catalog what is left to do: it is that memory, not a cache's.
        cache_policy=NO_CACHE,
        persist_result=False,
        # Should anybody switch results on: nothing of ours is ever a pickle.
        result_serializer="json",
    )


def is_worth_a_retry(_task: Task[Any, Any], _task_run: TaskRun, state: State[Any]) -> bool:
    """Whether a fault may go away: not where the program itself has decided to stop.

    Files and projects that fail are no faults of a stage; they have retries of their own.
    """
    run, _ = _at_hand.get()
    is_fault = isinstance(state.data, BaseException) and not isinstance(state.data, PypimirrorError)
    return is_fault and not run.cancelled.is_set()
