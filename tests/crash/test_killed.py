"""Promise 4: killed anywhere, the mirror is sound without repair, and the next run finishes.

Every change of a file or a name below the mirror root, every flush and every commit is a place to
die at.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.crash.harness import SCENARIOS, Victim, copy_of
from tests.crash.thorough import FEW, FEW_OF_TWO
from tests.mirror import Mirror, offer
from tests.sampling import sample
from tests.simulator import Simulator


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "stride"), sample([("update", 9), *((name, FEW) for name in SCENARIOS)], ("update", 9))
)
def test_a_run_killed_at_any_step(
    victim: Victim, simulator: Simulator, tmp_path: Path, name: str, stride: int
) -> None:
    scenario = SCENARIOS[name](victim, simulator, tmp_path / "before")
    scenario.undisturbed(tmp_path / "undisturbed")
    assert scenario.steps > 40
    for step in range(1, scenario.steps + 1, stride):
        mirror = copy_of(scenario.mirror, tmp_path / f"killed-{step}")
        answer = victim.run(mirror, command=scenario.command, step=step)
        assert answer == {"killed": True}, f"{step} of {scenario.steps}: {answer}"
        scenario.resume(mirror, f"killed before step {step} of {scenario.steps}")
        shutil.rmtree(mirror.base)


def test_a_heartbeat_is_no_step(victim: Victim, simulator: Simulator, tmp_path: Path) -> None:
    """Fault: a run on a busy machine had more steps than the next, which was then not killed."""
    offer(simulator, "six", "1.0")
    steps = {}
    for heartbeat in (60, 0.001):
        mirror = Mirror(tmp_path / str(heartbeat), simulator)
        steps[heartbeat] = victim.run(mirror, heartbeat=heartbeat)["steps"]
    assert steps[0.001] == steps[60] > 40


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "stride"),
    sample([("update", 11), *((name, FEW_OF_TWO) for name in SCENARIOS)], ("update", 11)),
)
def test_a_worker_killed_at_any_step_beside_another(
    victim: Victim, simulator: Simulator, tmp_path: Path, name: str, stride: int
) -> None:
    """The same run does the rest. What was verified is not fetched again, by nobody."""
    scenario = SCENARIOS[name](victim, simulator, tmp_path / "before")
    scenario.undisturbed(tmp_path / "undisturbed")
    both = copy_of(scenario.mirror, tmp_path / "both")
    steps = victim.run(both, command=scenario.command, pair=True)["steps"]
    scenario.compare(both, "two workers")
    killed = 0
    for step in range(1, steps + 1, stride):
        mirror = copy_of(scenario.mirror, tmp_path / f"killed-{step}")
        answer = victim.run(mirror, command=scenario.command, step=step, pair=True)
        said = f"a worker, before its step {step}: {answer}"
        assert answer["state"] == "completed", said
        scenario.compare(mirror, said)
        scenario.resume(mirror, said)
        killed += not answer["steps"]
        shutil.rmtree(mirror.base)
    assert killed
