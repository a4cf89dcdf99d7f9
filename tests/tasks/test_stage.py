"""How a task gets at the run, and what is worth a retry."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.states import Failed
from sqlalchemy.exc import OperationalError

from flows import running
from pypimirror.domain.model import Problem, Reason, Stage
from pypimirror.pipeline import sequence
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.run import StoppedError
from pypimirror.system.workers import Cancelled, WorkersError
from tasks import stage as stage_module
from tasks.download import download


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (RuntimeError("who knows"), True),
        (OSError("gone"), True),
        (OperationalError("SELECT 1", {}, Exception("database is locked")), True),
        (Cancelled("cancelled"), False),
        (StoppedError(Problem(Reason.DISK, "full")), False),
        (WorkersError("dead"), False),
    ],
)
def test_what_is_worth_a_retry(error: Exception, again: bool) -> None:
    assert is_worth_a_retry(error, cancelled=False) is again


def test_nothing_is_tried_again_in_a_run_that_is_cancelled() -> None:
    assert not is_worth_a_retry(OSError("gone"), cancelled=True)


def is_worth_a_retry(error: Exception, *, cancelled: bool) -> bool:
    found: list[bool] = []
    anything: Any = None

    def task(_batch: int, _projects: int) -> None:
        state = Failed(data=error)
        found.append(stage_module.is_worth_a_retry(anything, anything, state))

    plain: Any = task
    stopped = threading.Event()
    if cancelled:
        stopped.set()
    run: Any = SimpleNamespace(cancelled=stopped)
    stage_module.call(plain, run, Batch(1))
    return found[0]


def test_the_waits_between_tries_grow_and_end_soon() -> None:
    waits = download.retry_delay_seconds
    assert waits == [0.5, 1.0, 2.0]
    assert download.retry_jitter_factor == 0.5


def test_a_task_needs_its_flow() -> None:
    with pytest.raises(LookupError):
        download.fn(1, 1)


@pytest.mark.parametrize("stage", Stage)
def test_a_task_is_called_as_its_stage(stage: Stage) -> None:
    task = running.TASKS[stage]
    assert task.task_run_name == f"{stage.value}-{{batch}}"
    assert not task.persist_result
    assert task.result_serializer == "json"


def test_batches_are_handed_over_beside_the_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[object, Stage, Batch]] = []
    monkeypatch.setattr(sequence, "perform", lambda *given: seen.append(given))
    run: Any = object()
    batch = Batch(3, (7, 8))
    plain: Any = download.fn
    stage_module.call(plain, run, batch)
    assert seen == [(run, Stage.DOWNLOAD, batch)]
