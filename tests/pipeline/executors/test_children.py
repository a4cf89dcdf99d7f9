"""Children work on a run as one process would, whatever becomes of some of them."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
import pytest

from pypimirror.catalog.states import CHILD
from pypimirror.config.settings import parse
from pypimirror.domain.model import Problem, Reason, Stage
from pypimirror.pipeline import sequence
from pypimirror.pipeline.context.reporter import LogReporter
from pypimirror.pipeline.executors import children, team
from pypimirror.pipeline.executors.children import children as executor
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.summary import Summary
from tests.crash.harness import differences, held, known, leftovers, served
from tests.flows.stack import is_running
from tests.mirror import Mirror, offer
from tests.simulator import Simulator, Status

sync = partial(sequence.sync, executor=executor)

#: More than two of the smallest batches, so that both children have work.
PROJECTS = [f"project-{number:02}" for number in range(45)]


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "ENOUGH", 1)
    monkeypatch.setattr(children, "CORES", 2)
    monkeypatch.setattr(children, "available_cores", lambda: 2)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team, "MODULE", "tests.pipeline.executors.fake_child")


def workers(mirror: Mirror) -> list[dict[str, object]]:
    """The children in the history of the last run."""
    rows = mirror.query(
        "SELECT * FROM workers WHERE run_id = (SELECT max(id) FROM runs) AND executor = ?", CHILD
    )
    return [dict(row) for row in rows]


def processes(mirror: Mirror) -> list[int]:
    """The process ids of the children of the last run."""
    return [int(json.loads(str(row["holder"]))["pid"]) for row in workers(mirror)]


class Seen(LogReporter):
    """What people see of a run."""

    def __init__(self) -> None:
        self.moved: Counter[str] = Counter()
        self.lines: list[str] = []

    def finished(self, projects: int) -> None:
        self.moved["projects"] += projects

    def begin(self, stage: Stage, total: int | None, size: int = 0) -> None:
        self.moved[f"{stage} total"] += total or 0
        self.moved[f"{stage} size"] += size

    def advance(self, stage: Stage, things: int = 0, size: int = 0) -> None:
        self.moved[f"{stage} things"] += things
        self.moved[f"{stage} received"] += size

    def problem(self, stage: Stage, problem: Problem) -> None:
        self.lines.append(f"{stage}: {problem.message}")

    def note(self, level: str, message: str) -> None:
        if level != "debug":
            self.lines.append(message)

    def announce(self, message: str) -> None:
        self.lines.append(message)


def watched(seen: Seen, run: Run) -> None:
    """Sync with another reporter."""
    msgspec.structs.force_setattr(run, "reporter", seen)
    run.ledger.reporter = seen
    sync(run)


def test_children_come_to_the_result_of_one_process(
    mirror: Mirror, simulator: Simulator, tmp_path: Path
) -> None:
    files = [file for name in PROJECTS for file in offer(simulator, name, "1.0", "2.0")]
    files[5].replace(b"other bytes than the index says")
    simulator.fault(f"*/{files[9].filename}", Status(404))
    alone, seen_alone, seen = Mirror(tmp_path / "alone", simulator), Seen(), Seen()

    def inline(run: Run) -> None:
        msgspec.structs.force_setattr(run, "reporter", seen_alone)
        run.ledger.reporter = seen_alone
        sequence.sync(run)

    expected = alone.sync(work=inline)
    result = mirror.sync(work=partial(watched, seen))
    assert [row["state"] for row in workers(mirror)] == ["completed", "completed"]
    assert sum(int(str(row["projects"])) for row in workers(mirror)) == len(PROJECTS)
    assert result.state == expected.state == "incomplete"
    assert result.counts == expected.counts
    assert sorted(p.file for p in result.failures) == sorted(p.file for p in expected.failures)
    assert differences(served(mirror), served(alone)) == {}
    assert differences(known(mirror), known(alone)) == {}
    assert seen.moved == seen_alone.moved
    assert sorted(seen.lines) == sorted(seen_alone.lines)
    assert leftovers(mirror) == []
    assert mirror.query("SELECT * FROM claims") == []


def test_a_child_that_is_killed_costs_its_claims_only(mirror: Mirror, simulator: Simulator) -> None:
    for name in PROJECTS:
        offer(simulator, name, "1.0")
    (last,) = offer(simulator, PROJECTS[-1], "2.0")
    hold = simulator.hold(f"*/{last.filename}", after=10)
    verified: set[str] = set()

    def kill() -> None:
        hold.wait_reached()
        verified.update(
            row["filename"] for row in mirror.query("SELECT * FROM files WHERE state IN (2, 3)")
        )
        for pid in processes(mirror):
            with suppress(ProcessLookupError):  # one may have ended by now
                os.kill(pid, signal.SIGKILL)
        hold.release()

    killer = threading.Thread(target=kill)
    killer.start()
    seen = Seen()
    result = mirror.sync(work=partial(watched, seen))
    killer.join()
    assert result.state == "completed"
    assert len(held(mirror)) == len(PROJECTS) + 1
    assert [name for name in verified if simulator.downloads(name) > 1] == []
    assert [line for line in seen.lines if "ended with status -9; another one is" in line]
    assert leftovers(mirror) == []


def test_a_child_that_is_stopped_loses_its_claims_and_others_finish(
    mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(team, "SILENCE", 2.5)
    for name in PROJECTS:
        offer(simulator, name, "1.0")
    hold = simulator.hold(f"*/{PROJECTS[0].replace('-', '_')}-1.0*", after=10)

    def stop() -> None:
        hold.wait_reached()
        os.kill(next(filter(is_running, processes(mirror))), signal.SIGSTOP)
        hold.release()

    stopper = threading.Thread(target=stop)
    stopper.start()
    seen = Seen()
    result = mirror.sync(work=partial(watched, seen))
    stopper.join()
    assert result.state == "completed"
    assert len(held(mirror)) == len(PROJECTS)
    assert [line for line in seen.lines if "has said nothing for" in line]


def test_a_run_that_is_cancelled_ends_with_its_children(
    mirror: Mirror, simulator: Simulator
) -> None:
    for name in PROJECTS:
        offer(simulator, name, "1.0")
    hold = simulator.hold(f"*/{PROJECTS[0].replace('-', '_')}-1.0*", after=10)
    begun = time.monotonic()

    def cancelled(run: Run) -> None:
        def cancel() -> None:
            nonlocal begun
            hold.wait_reached()
            begun = time.monotonic()
            run.cancel()

        threading.Thread(target=cancel).start()
        sync(run)

    result = mirror.sync(work=cancelled)
    assert time.monotonic() - begun < 30
    assert result.state == "cancelled"
    assert "cancelled" in {row["state"] for row in workers(mirror)} <= {"cancelled", "completed"}
    assert not any(is_running(pid) for pid in processes(mirror))
    hold.release()
    assert mirror.sync(work=sync).state == "completed"


def test_one_child_that_cannot_go_on_ends_the_run_with_one_message(
    mirror: Mirror, simulator: Simulator, fake: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_CHILD", "is full")
    offer(simulator, "six", "1.0")
    result = mirror.sync(work=sync)
    assert (result.state, result.message) == ("failed", "the disk is full. Free some space and run "
                                              "again.")  # fmt: skip
    assert [p.reason for p in result.failures if not p.project] == [Reason.DISK]
    assert result.counts["files_verified"] == 5, "the others say what they have done"


def test_what_children_tell_arrives_once(
    mirror: Mirror, simulator: Simulator, fake: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_CHILD", "tells")
    offer(simulator, "six", "1.0")
    seen = Seen()
    result = mirror.sync(work=partial(watched, seen))
    assert Counter(seen.lines) == {
        "the upstream is slow": 1,
        "hello from 1": 1,
        "hello from 2": 1,
        "download: gone": 2,
        f"download: {result.message}": 1,
    }
    assert seen.moved["projects"] == 4
    assert (seen.moved["download total"], seen.moved["download things"]) == (8, 6)
    assert (seen.moved["download size"], seen.moved["download received"]) == (800, 600)
    assert result.state == "failed" and result.message.startswith("the disk is full")
    assert result.counts["files_verified"] == 6


def test_children_that_always_die_leave_the_work_to_this_process(
    mirror: Mirror, simulator: Simulator, fake: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_CHILD", "dies")
    offer(simulator, "six", "1.0")
    seen = Seen()
    result: Summary = mirror.sync(work=partial(watched, seen))
    assert result.state == "completed" and len(held(mirror)) == 1
    ended = [line for line in seen.lines if "ended with status" in line]
    assert Counter("no other" in line for line in ended) == {False: team.RESTARTS, True: 2}
    assert "worker 1: worker 1 is out of luck" in seen.lines


def test_what_a_child_has_recorded_counts_although_it_dies(
    mirror: Mirror, simulator: Simulator, fake: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_CHILD", "works and dies")
    offer(simulator, "six", "1.0")
    unsure: set[Stage] = set()

    def work(run: Run) -> None:
        sync(run)
        unsure.update(run.ledger.unsure)

    result = mirror.sync(work=work)
    deaths = team.RESTARTS + 2
    assert result.counts["files_verified"] == deaths * 5 + 1
    assert unsure == {Stage.DISCOVER}, "the closure and others rely on what has failed"
    assert mirror.query("SELECT * FROM stages WHERE state = 'running'") == []


@pytest.mark.parametrize(
    ("processes", "connections", "number", "expected"),
    [
        (2, 64, 2, [(1, 64), (1, 64)]),
        (5, 64, 2, [(3, 64), (2, 64)]),
        (1, 64, 2, [(1, 32), (1, 32)]),
        (3, 7, 4, [(1, 6), (1, 5), (1, 5), (1, 5)]),
        (1, 1, 4, [(1, 1)]),
    ],
)
def test_children_share_the_connections_of_one_process(
    processes: int, connections: int, number: int, expected: list[tuple[int, int]]
) -> None:
    download = {"processes": processes, "connections": connections}
    config = parse({"download": download}, Path("/somewhere/pypimirror.toml"))
    found = team.shares(config, number)
    assert [(c.download.processes, c.download.connections) for c in found] == expected
    assert sum(p * c for p, c in expected) == processes * connections


def test_few_projects_and_few_cores_are_no_reason_for_children(
    mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(simulator, "six", "1.0")
    for name, value in (("ENOUGH", 2), ("CORES", 3)):
        with monkeypatch.context() as few:
            few.setattr(children, name, value)
            assert mirror.sync(work=sync).state == "completed"
        assert workers(mirror) == []
        offer(simulator, "six", "2.0")
