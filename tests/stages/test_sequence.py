"""The sequence of the stages: batches side by side, each in order, and all of them ended by one."""

from __future__ import annotations

import json
import threading

import pytest

from pypimirror.model import Problem, Reason, Stage
from pypimirror.stages import sequence
from pypimirror.stages.run import Run, StoppedError
from pypimirror.stages.sequence import Batch
from tests.mirror import Mirror, offer
from tests.simulator import Simulator

PROJECTS = [f"p-{letter}" for letter in "abcdefg"]


@pytest.fixture
def many(mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    """A mirror of seven projects, in batches of two."""
    monkeypatch.setattr(sequence, "BATCH_SIZE", 2)
    for name in PROJECTS:
        offer(simulator, name, "1.0", "2.0")
    mirror.select(*PROJECTS)
    return mirror


def test_batches_side_by_side_end_as_one_after_the_other(many: Mirror) -> None:
    result = many.sync()
    assert result.state == "completed"
    assert result.counts["files_verified"] == 14
    assert many.projects == PROJECTS
    rows = many.query("SELECT stage, batch, state FROM stages ORDER BY id")
    assert {row[2] for row in rows} == {"completed"}
    for batch in range(1, 5):
        assert [row[0] for row in rows if row[1] == batch] == [stage.value for stage in Stage]
    assert (rows[-1][0], rows[-1][1]) == ("publish", 5)


def test_each_batch_counts_its_own_files(many: Mirror) -> None:
    many.sync()
    rows = many.query("SELECT counts FROM stages WHERE stage = 'verify'")
    assert sum(json.loads(row["counts"]).get("files_verified", 0) for row in rows) == 14


def test_a_stage_says_how_its_files_were_proven(many: Mirror) -> None:
    many.sync()
    rows = many.query("SELECT counts FROM stages WHERE stage = 'verify'")
    assert sum(json.loads(row[0])["proven_by_digest"] for row in rows) == 14


def test_lanes_are_really_side_by_side(many: Mirror) -> None:
    together = threading.Barrier(2, timeout=30)
    met = threading.Event()

    def call(run: Run, stage: Stage, batch: Batch) -> None:
        if stage is Stage.DOWNLOAD and batch.number in (1, 2):
            together.wait()
            met.set()
        sequence.perform(run, stage, batch)

    assert many.sync(work=lambda run: sequence.sync(run, call)).state == "completed"
    assert met.is_set()


def test_a_batch_that_stops_the_run_ends_the_others_and_loses_nothing(many: Mirror) -> None:
    def call(run: Run, stage: Stage, batch: Batch) -> None:
        if stage is Stage.VERIFY and batch.number == 2:
            raise StoppedError(Problem(Reason.DISK, "no space left"))
        sequence.perform(run, stage, batch)

    result = many.sync(work=lambda run: sequence.sync(run, call), sound=False)
    assert (result.state, result.message) == ("failed", "no space left")
    assert many.sync().state == "completed"
    assert many.projects == PROJECTS


def test_an_interrupt_ends_all_lanes(many: Mirror) -> None:
    def call(run: Run, stage: Stage, batch: Batch) -> None:
        if stage is Stage.DOWNLOAD and batch.number == 3:
            raise KeyboardInterrupt
        sequence.perform(run, stage, batch)

    assert many.sync(work=lambda run: sequence.sync(run, call), sound=False).state == "cancelled"
    assert many.sync().state == "completed"
