"""What a flow run shows while it works: also from batches that are side by side."""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path

import pytest

from flows.reporter import FlowReporter
from pypimirror.domain.model import Stage
from pypimirror.pipeline.executors.loop import BATCH_SIZE
from tests.corpus.build import make_wheel
from tests.flows.stack import Stack, children, is_worker, wait_for
from tests.simulator import Simulator

#: A sync with a batch for each project, which shows its progress soon.
SYNC = """
import sys
from flows import reporter
from pypimirror.pipeline.executors import loop
reporter.EVERY, loop.BATCH_SIZE = 0.1, 1
from flows.sync import sync
sync(sys.argv[1])
"""


@pytest.mark.parametrize(
    ("projects", "finished", "expected"),
    [(0, 0, 30.0), (BATCH_SIZE, 0, 30.0), (BATCH_SIZE * 4, 0, 0.0), (BATCH_SIZE * 4, 300, 75.0)],
)
def test_the_bar_is_about_projects_as_soon_as_there_are_several_batches(
    projects: int, finished: int, expected: float
) -> None:
    """The things of the stages that have begun would show almost 100 % all the time."""
    shown = FlowReporter(logging.getLogger("test"))
    shown.expect(projects)
    shown.begin(Stage.DOWNLOAD, 10)
    shown.advance(Stage.DOWNLOAD, 3)
    shown.finished(finished)
    assert shown._percent() == expected


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.thorough
def test_lanes_and_children_are_seen_in_their_flow_run(
    stack: Stack, config: Path, simulator: Simulator
) -> None:
    """A bar, lines of the task run that a stage is, and lines about the child processes."""
    names = ["one", "two", "three", "four"]
    for name in names:
        simulator.add_file(name, *make_wheel(name, "1.0"))
    hold = simulator.hold("*/two-1.0-py3-none-any.whl")
    ours = {"tags": {"all_": [f"mirror:{config.parent / 'mirror'}"]}}
    command = (sys.executable, "-c", SYNC, config)
    with stack.process("lanes", *command, PYTHONPATH=str(stack.project)) as pid:
        hold.wait_reached(60)
        (flow_run,) = wait_for(lambda: stack.flow_runs(**ours))
        wait_for(lambda: stack.artifacts(flow_run, "progress"))
        for child in filter(is_worker, children(pid)):
            os.kill(child, signal.SIGKILL)
        hold.release()
        wait_for(lambda: stack.flow_runs(**ours, state={"type": {"any_": ["COMPLETED"]}}))
        (bar,) = stack.artifacts(flow_run, "progress")
        assert float(bar["data"]) == 100.0
        lines = wait_for(lambda: [s for s in stack.logs(flow_run) if "status -9" in s["message"]])
        assert lines[0]["task_run_id"] is None
        stages = [s for s in stack.logs(flow_run) if s["message"] == "download: 1 to do"]
        assert len({s["task_run_id"] for s in stages} - {None}) == len(names)
