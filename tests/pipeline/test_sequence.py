"""The sequence of the stages: batches side by side, each in order, and all of them ended by one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from msgspec.structs import fields
from sqlalchemy import Connection

from pypimirror.catalog.database import Catalog
from pypimirror.domain.model import Problem, Reason, Stage
from pypimirror.pipeline import sequence
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.context.priority_lock import PriorityLock
from pypimirror.pipeline.executors import loop
from pypimirror.pipeline.run import Run, StoppedError
from pypimirror.storage import durability
from tests.mirror import Mirror, offer
from tests.simulator import Simulator

PROJECTS = [f"p-{letter}" for letter in "abcdefg"]


@pytest.fixture
def many(mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    """A mirror of seven projects, in batches of two."""
    for size in ("BATCH_SIZE", "SMALLEST_BATCH"):
        monkeypatch.setattr(loop, size, 2)
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


@pytest.fixture
def at_work(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The threads that have their turn."""
    found: set[int] = set()
    take, give_up = PriorityLock._take, PriorityLock._give_up

    def taking(turns: PriorityLock) -> None:
        take(turns)
        found.add(threading.get_ident())
        assert len(found) == 1

    def giving_up(turns: PriorityLock) -> bool:
        found.discard(threading.get_ident())
        return give_up(turns)

    monkeypatch.setattr(PriorityLock, "_take", taking)
    monkeypatch.setattr(PriorityLock, "_give_up", giving_up)
    return found


def test_one_lane_works_at_a_time_and_waits_for_no_other_in_its_turn(
    many: Mirror, at_work: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the catalog there is one writer: who gave up its turn as such would wait for ever."""
    writes = 0
    write = Catalog.write
    gave_up: set[int] = set()
    give_up = PriorityLock._give_up

    def giving_up(turns: PriorityLock) -> bool:
        gave_up.add(threading.get_ident())
        return give_up(turns)

    monkeypatch.setattr(PriorityLock, "_give_up", giving_up)

    @contextmanager
    def noted(catalog: Catalog) -> Iterator[Connection]:
        nonlocal writes
        me = threading.get_ident()
        is_lane = me in at_work
        with write(catalog) as connection:
            gave_up.discard(me)
            yield connection
            writes += is_lane
            assert me not in gave_up

    monkeypatch.setattr(Catalog, "write", noted)
    assert many.sync().state == "completed"
    assert writes > 4 * len(Stage)


def test_a_lane_that_waits_for_the_disk_lets_the_others_work(
    many: Mirror, at_work: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    many.configure(mirror={"durability": "file"})
    flushes = []
    sync_file = durability.sync_file

    def noted(path: str) -> None:
        flushes.append(threading.get_ident() in at_work)
        sync_file(path)

    monkeypatch.setattr(durability, "sync_file", noted)
    assert many.sync().state == "completed"
    assert len(flushes) > 14
    assert not any(flushes)


def test_no_stage_changes_what_a_run_knew_when_it_began(mirror: Mirror) -> None:
    def work(run: Run) -> None:
        for field in fields(run):
            with pytest.raises(AttributeError):
                setattr(run, field.name, None)

    assert mirror.sync(work=work).state == "completed"
