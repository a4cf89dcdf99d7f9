"""The loop of every worker: each project once, a row in the history, no change once it is lost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from pypimirror.catalog import lease
from pypimirror.catalog.claims import Worker
from pypimirror.catalog.database import Connection
from pypimirror.catalog.holder import Holder, Machine
from pypimirror.catalog.queries.work import workers
from pypimirror.domain.model import Problem, Reason, Stage
from pypimirror.pipeline import sequence
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.executors import loop
from pypimirror.pipeline.run import Run
from tests.mirror import DOWNLOAD, Mirror, offer
from tests.simulator import Simulator, Status

PROJECTS = [f"p-{letter}" for letter in "abcdefg"]

#: A worker that was on another machine.
GONE = Holder(Machine("far"), 7, 1, "t")


@pytest.fixture
def many(mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    """A mirror of seven projects, in batches of two."""
    for size in ("BATCH_SIZE", "SMALLEST_BATCH"):
        monkeypatch.setattr(loop, size, 2)
    for name in PROJECTS:
        offer(simulator, name, "1.0")
    mirror.select(*PROJECTS)
    return mirror


def before(stage: Stage, act: Callable[[Run, Batch], None]) -> Callable[[Run], None]:
    """Return a sync that does something before a stage of each batch."""

    def call(run: Run, current: Stage, batch: Batch) -> None:
        if current is stage and batch.projects:
            act(run, batch)
        sequence.perform(run, current, batch)

    return lambda run: sequence.sync(run, call)


def worker_of(mirror: Mirror) -> tuple[str, int, int, str | None]:
    """The state, batches, projects and message of the only worker; its claims are gone."""
    (row,) = mirror.query("SELECT state, batches, projects, message FROM workers")
    assert mirror.query("SELECT count(*) FROM claims")[0][0] == 0
    return row[0], row[1], row[2], row[3]


def test_each_project_is_taken_through_the_stages_once(many: Mirror) -> None:
    seen: Counter[int] = Counter()
    assert many.sync(work=before(Stage.VERIFY, lambda _, batch: seen.update(batch.projects)))
    assert len(seen) == 7
    assert set(seen.values()) == {1}
    assert worker_of(many) == ("completed", 4, 7, None)
    (row,) = many.query("SELECT executor, counts FROM workers")
    assert row[0] == "inline"
    assert json.loads(row[1])["files_verified"] == 7


def test_what_a_run_counts_before_its_batches_is_not_its_workers(mirror: Mirror) -> None:
    offer(mirror.simulators[0], "six", "1.0")
    result = mirror.sync()
    counts = json.loads(mirror.query("SELECT counts FROM workers")[0][0])
    assert "projects_seen" in result.counts
    assert "projects_seen" not in counts
    assert counts["files_verified"] == result.counts["files_verified"]


def test_a_project_that_fails_is_not_tried_again_in_the_same_run(
    many: Mirror, simulator: Simulator
) -> None:
    simulator.fault("*.whl", Status(404))
    seen: Counter[int] = Counter()
    work = before(Stage.DOWNLOAD, lambda _, batch: seen.update(batch.projects))
    assert many.sync(work=work).state == "incomplete"
    assert len(seen) == 7
    assert set(seen.values()) == {1}


def test_a_run_without_work_has_no_worker(mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    mirror.query("DELETE FROM workers")
    assert mirror.sync().state == "completed"
    assert mirror.query("SELECT count(*) FROM workers")[0][0] == 0


def test_a_dry_run_claims_nothing(many: Mirror) -> None:
    many.sync(PROJECTS[0])
    many.query("DELETE FROM workers")
    assert len(many.plan().publish) == 6
    assert many.query("SELECT count(*) FROM workers")[0][0] == 0
    assert many.query("SELECT count(*) FROM claims")[0][0] == 0


def test_a_worker_that_is_lost_stops_and_writes_nothing(many: Mirror) -> None:
    """Others have its claims: what it did not commit before is theirs."""

    def lose(run: Run, batch: Batch) -> None:
        if batch.number == 1:
            with run.catalog.aside() as connection:
                mine = [row.id for row in workers.of_run(connection, run.id)]
                assert workers.lose(connection, mine, []) == mine

    result = many.sync(work=before(Stage.VERIFY, lose), sound=False)
    assert result.state == "failed"
    assert "has lost its claims and stopped: others have taken them over" in result.message
    assert worker_of(many)[0] == "lost"
    many.query("DELETE FROM workers")
    assert many.sync().state == "completed"
    assert many.projects == PROJECTS


def test_a_run_whose_worker_is_lost_after_its_last_batch_says_so(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(mirror.simulators[0], "six", "1.0")
    release = Worker.release

    def lost_after(worker: Worker, batch: tuple[int, ...], counts: Counter[str]) -> None:
        release(worker, batch, counts)
        worker._lose("the catalog could not be reached")

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "release", lost_after)
        result = mirror.sync(sound=False)
    assert result.state == "failed"
    assert "has lost its claims and stopped: the catalog could not be reached" in result.message
    assert mirror.sync().state == "completed"


def test_claims_of_a_lost_worker_are_worked_off_in_the_same_run(many: Mirror) -> None:
    def leave(run: Run, stage: Stage, batch: Batch) -> None:
        """Claim two projects once it is known which have work, before anybody else can."""
        sequence.perform(run, stage, batch)
        if stage is not Stage.DISCOVER or batch.projects:
            return
        gone = Worker(run.catalog, run.id, GONE, lease.PACE)
        gone.begin("shard", "far")
        assert len(gone.claim(2)) == 2
        with run.catalog.aside() as connection:
            assert _expire(connection, gone.id)

    assert many.sync(work=lambda run: sequence.sync(run, leave)).state == "completed"
    assert many.projects == PROJECTS
    states = many.query("SELECT state FROM workers ORDER BY id")
    assert [row[0] for row in states] == ["lost", "completed"]


def _expire(connection: Connection, worker_id: int) -> bool:
    return workers.renew(connection, worker_id, -1)


def test_workers_of_one_run_have_different_numbers_of_batches(
    many: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that share out numbers, and one that goes on in the place of the first."""
    monkeypatch.setattr(loop, "LANES", 1)

    def work(run: Run) -> None:
        sequence.perform(run, Stage.DISCOVER, Batch(0))
        claim, allowed = Worker.claim, 0

        def few(worker: Worker, *more: object) -> tuple[int, ...]:
            nonlocal allowed
            allowed -= 1
            return claim(worker, *more) if allowed >= 0 else ()  # type: ignore[arg-type]

        monkeypatch.setattr(Worker, "claim", few)
        for most, first in ((2, 1), (1, 2), (9, 1)):
            allowed = most
            with loop.at_work(run, "shard", str(first)) as worker:
                worker.work_off(run, sequence.perform, tuple(Stage), first, True, step=2)

    assert many.sync(work=work, sound=False).state == "completed"
    rows = many.query("SELECT stage, batch FROM stages WHERE batch > 0 AND stage = 'discover'")
    assert sorted(row[1] for row in rows) == [1, 2, 3, 5]
    assert many.query("SELECT stage FROM stages GROUP BY stage, batch HAVING count(*) > 1") == []


def test_a_worker_with_few_connections_claims_few_batches_at_once(
    many: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the first worker takes all there is, and the others wait for it."""
    many.configure(download={**DOWNLOAD, "connections": 4})
    claim = Worker.claim
    in_hand = []

    def counted(worker: Worker, *more: Any) -> tuple[int, ...]:
        found = claim(worker, *more)
        in_hand.append(many.query("SELECT count(*) FROM claims WHERE NOT done")[0][0])
        return found

    monkeypatch.setattr(Worker, "claim", counted)
    assert many.sync().state == "completed"
    assert max(in_hand) == 3 * loop.BATCH_SIZE


@pytest.mark.parametrize(("connections", "lanes"), [(1, 2), (4, 3), (16, 6), (256, 6)])
def test_lanes_are_as_many_as_keep_the_connections_busy(
    mirror: Mirror, connections: int, lanes: int
) -> None:
    mirror.configure(download={**DOWNLOAD, "connections": connections})
    assert loop.lanes_for(mirror.config) == lanes


@pytest.mark.parametrize("hindrance", ["unreachable", "no_room"])
def test_a_worker_that_could_not_go_on_says_why(mirror: Mirror, hindrance: str) -> None:
    offer(mirror.simulators[0], "six", "1.0")

    def hinder(run: Run, _: Batch) -> None:
        setattr(run.ledger, hindrance, Problem(Reason.CONNECTION, "it is away"))

    assert mirror.sync(work=before(Stage.PUBLISH, hinder), sound=False).state == "failed"
    assert worker_of(mirror) == ("failed", 1, 1, "it is away")


def test_a_cancelled_run_has_a_cancelled_worker(many: Mirror) -> None:
    def interrupt(_: Run, batch: Batch) -> None:
        if batch.number == 3:
            raise KeyboardInterrupt

    result = many.sync(work=before(Stage.DOWNLOAD, interrupt), sound=False)
    assert result.state == "cancelled"
    assert worker_of(many)[0] == "cancelled"


@pytest.mark.parametrize("left", [1, 19, 20, 21, 137, 1000, 20_000])
def test_batches_are_small_at_both_ends_of_a_run_and_leave_nothing_out(left: int) -> None:
    """Small at first, so that lanes are not all in the same stage; small at last, so that all of
    them end at one time.
    """
    sizes = []
    while left > 0:
        sizes.append(loop.size_of_batch(len(sizes) + 1, left, loop.SMALLEST_BATCH))
        left -= sizes[-1]
    assert left <= 0
    assert max(sizes) <= loop.BATCH_SIZE
    assert min(sizes) >= loop.SMALLEST_BATCH
    assert sizes[0] == sizes[-1] == loop.SMALLEST_BATCH


def test_each_of_several_workers_takes_the_smaller_batches(
    many: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that one of them takes near the end is what all others wait for."""
    monkeypatch.setattr(loop, "BATCH_SIZE", 7)
    monkeypatch.setattr(loop, "SMALLEST_BATCH", 1)
    monkeypatch.setattr(loop, "LANES", 1)
    claim = Worker.claim
    sizes = []

    def seen(worker: Worker, size: int, *more: Any) -> tuple[int, ...]:
        sizes.append(size)
        return claim(worker, size, *more)

    monkeypatch.setattr(Worker, "claim", seen)

    def work(run: Run) -> None:
        sequence.perform(run, Stage.DISCOVER, Batch(0))
        with loop.at_work(run, "shard", "1") as worker:
            worker.work_off(run, sequence.perform, tuple(Stage), 1, True, step=3)

    assert many.sync(work=work, sound=False).state == "completed"
    assert max(sizes) == 2  # a third of seven
