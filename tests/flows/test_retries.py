"""A fault of the download stage, in a flow run in this process: what is tried again."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows import running
from flows.sync import run_sync
from pypimirror.catalog.queries import runs
from pypimirror.domain.model import Problem, Reason, Stage
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.download import download as stage_download
from pypimirror.pipeline.run import Run, StoppedError
from tasks import stage as stage_module
from tasks.download import download
from tests.corpus.build import make_wheel
from tests.flows.stack import Stack
from tests.simulator import Simulator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def quick(in_process: None, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = download.with_options(retry_delay_seconds=0)
    monkeypatch.setitem(running.TASKS, Stage.DOWNLOAD, quick)


def fail(monkeypatch: pytest.MonkeyPatch, error: Exception, times: int) -> list[tuple[Stage, int]]:
    """Let the download stage fail so many times; the list grows with each attempt."""
    attempts: list[tuple[Stage, int]] = []
    real = stage_download.download

    def work(run: Run, batch: Batch) -> None:
        attempts.append((Stage.DOWNLOAD, len(batch.projects)))
        if len(attempts) <= times:
            raise error
        real(run, batch)

    monkeypatch.setattr(stage_download, "download", work)
    return attempts


@pytest.mark.thorough
def test_the_stage_alone_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, stack: Stack, config: Path, simulator: Simulator
) -> None:
    simulator.add_file("one", *make_wheel("one", "1.0"))
    attempts = fail(monkeypatch, RuntimeError("who knows"), times=2)
    summary = run_sync(str(config), [])
    assert (summary.state, len(attempts)) == (runs.COMPLETED, 3)
    assert simulator.count("/simple/one/") == 1
    states = stack.task_runs(stack.flow_run(summary.run))
    assert set(states.values()) == {"COMPLETED"}


@pytest.mark.thorough
def test_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, config: Path, simulator: Simulator
) -> None:
    simulator.add_file("one", *make_wheel("one", "1.0"))
    attempts = fail(monkeypatch, RuntimeError("who knows"), times=99)
    with pytest.raises(RuntimeError, match="who knows"):
        run_sync(str(config), [])
    assert len(attempts) == 1 + stage_module.RETRIES


def test_a_decision_to_stop_stands(
    monkeypatch: pytest.MonkeyPatch, stack: Stack, config: Path, simulator: Simulator
) -> None:
    simulator.add_file("one", *make_wheel("one", "1.0"))
    error = StoppedError(Problem(Reason.DISK, "the disk is full"))
    attempts = fail(monkeypatch, error, times=99)
    summary = run_sync(str(config), [])
    assert (summary.state, len(attempts)) == (runs.FAILED, 1)
    assert stack.flow_run(summary.run)["state"]["message"] == "the disk is full"
