"""Code that the tasks of all stages share: their options, and how they get the run.

Prefect shows and hashes the parameters of a task, so they must be small JSON values. The run itself
(with an open catalog and child processes) is passed in a context variable. A task is called
directly, in the thread of the flow, so it sees this variable.
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

#: How often a stage is retried after an unexpected error.
RETRIES = 3

#: Seconds before the first retry. Each further retry waits twice as long. If batches run in
#: parallel, a cancelled run may have to wait for the longest pause.
BACKOFF = 0.5

_at_hand: ContextVar[tuple[Run, Batch]] = ContextVar("at_hand")


def call(stage_task: StageTask, run: Run, batch: Batch) -> None:
    """Run a stage's task for a batch. It is called directly: a submitted task would get no
    signal.
    """
    token = _at_hand.set((run, batch))
    try:
        stage_task(batch.number, len(batch.projects))
    finally:
        _at_hand.reset(token)


def perform(stage: Stage) -> State[Any] | None:
    """Run the stage for the current run and batch. This is the body of each task.

    Return the state Failed if the stage could do nothing. This is only for people who look at task
    runs: the whole run decides the state of the flow run.
    """
    run, batch = _at_hand.get()
    problem = sequence.perform(run, stage, batch)
    return None if problem is None else Failed(message=problem.message)


def stage_task(stage: Stage) -> Callable[[Callable[[int, int], State[Any] | None]], StageTask]:
    """Turn a function into the task of a stage."""
    return task(
        name=stage.value,
        task_run_name=f"{stage.value}-{{batch}}",
        retries=RETRIES,
        retry_delay_seconds=exponential_backoff(backoff_factor=BACKOFF),
        retry_jitter_factor=0.5,
        retry_condition_fn=is_worth_a_retry,
        # A stage reads its open work from the catalog, so it needs no cache.
        cache_policy=NO_CACHE,
        persist_result=False,
        # If somebody switches results on, they must never be pickles.
        result_serializer="json",
    )


def is_worth_a_retry(_task: Task[Any, Any], _task_run: TaskRun, state: State[Any]) -> bool:
    """Whether a retry may help: not if the program itself has decided to stop.

    Failures of files and projects are not errors of a stage; they are retried separately.
    """
    run, _ = _at_hand.get()
    is_fault = isinstance(state.data, BaseException) and not isinstance(state.data, PypimirrorError)
    return is_fault and not run.cancelled.is_set()
