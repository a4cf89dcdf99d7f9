"""Commands whose work child workers do: ^C at a terminal, and the end of the process above them."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.terminal import at_terminal
from tests.environment import isolated
from tests.flows.stack import children, is_running
from tests.mirror import Mirror, offer
from tests.simulator import Simulator

ROOT = Path(__file__).parents[2]

#: pypimirror as on two cores, and as if a few projects were many.
SCRIPT = """
from pypimirror import __main__
from pypimirror.pipeline.executors import children
children.ENOUGH, children.CORES, children.available_cores = 1, 2, lambda: 2
__main__.main()
"""
PROGRAM = (sys.executable, "-c", SCRIPT)

#: More than two of the smallest batches, so that both children have work.
PROJECTS = [f"project-{number:02}" for number in range(45)]


@pytest.fixture
def at_work(mirror: Mirror, simulator: Simulator) -> Callable[[], None]:
    """A function that waits until one child fetches a file that does not come to its end, and all
    that can be done besides is done.
    """
    for name in PROJECTS:
        offer(simulator, name, "1.0")
    hold = simulator.hold(f"*/{PROJECTS[0].replace('-', '_')}-1.0*", after=10)

    def wait() -> None:
        hold.wait_reached()
        while len(workers(mirror)) < 2:
            os.sched_yield()

    return wait


def workers(mirror: Mirror) -> list[str]:
    """The states of the workers that the catalog knows."""
    rows = mirror.query("SELECT state FROM workers WHERE executor = 'child'")
    return [row["state"] for row in rows]


def resume(mirror: Mirror, simulator: Simulator) -> None:
    """Let the next run do the rest. What is verified is not fetched again."""
    mirror.check(agree=False)
    rows = mirror.query("SELECT filename FROM files WHERE state IN (2, 3)")
    verified = [row["filename"] for row in rows]
    simulator.heal()
    simulator.forget()
    assert mirror.sync().state == "completed"
    assert len(mirror.projects) == len(PROJECTS)
    assert [name for name in verified if simulator.downloads(name)] == []
    assert mirror.query("SELECT * FROM claims") == []


def test_an_interrupt_at_a_terminal_ends_all_of_them_as_cancelled(
    mirror: Mirror, simulator: Simulator, at_work: Callable[[], None]
) -> None:
    """The signal reaches the parent alone, which ends its children in order."""
    below: list[int] = []

    def pressed() -> None:
        at_work()
        for row in mirror.query("SELECT holder FROM workers"):
            pid = int(json.loads(row["holder"])["pid"])
            below.extend([pid, *children(pid)])

    seen = at_terminal(
        "sync", "--inline", cwd=mirror.base, program=PROGRAM, interrupt_after=pressed
    )
    assert seen.code == 130
    assert "Traceback" not in seen.text and "ended with status" not in seen.text
    assert "cancelled" in seen.text
    assert len(below) >= 3 and not any(is_running(pid) for pid in below)
    assert mirror.query("SELECT state FROM runs")[0]["state"] == "cancelled"
    assert "cancelled" in set(workers(mirror)) <= {"cancelled", "completed"}
    resume(mirror, simulator)


def test_all_of_them_end_when_the_process_above_them_is_killed(
    mirror: Mirror, simulator: Simulator, at_work: Callable[[], None]
) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "sync", "--inline"],
        cwd=mirror.base,
        env=isolated(PYTHONPATH=str(ROOT)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    at_work()
    below = {pid: os.pidfd_open(pid) for pid in children(process.pid)}
    process.kill()
    process.wait()
    assert len(below) >= 3  # two that work, and one that fetches for the first of them
    for pid, descriptor in below.items():
        ready, _, _ = select.select([descriptor], [], [], 60)
        assert ready, f"process {pid} lives on"
        os.close(descriptor)
    resume(mirror, simulator)
    states = [row["state"] for row in mirror.query("SELECT state FROM runs ORDER BY id")]
    assert states == ["crashed", "completed"]
