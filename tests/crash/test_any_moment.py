"""Promise 4, with the clock: parent and children killed at random times, on a larger mirror.

THOROUGH=500 python -m pytest tests/crash/test_any_moment.py
"""

from __future__ import annotations

import random
import shutil
import threading
import time
from pathlib import Path

import pytest

from tests.checker import check
from tests.crash.harness import Victim, copy_of, held, kill_with_children, leftovers, served
from tests.crash.thorough import THOROUGH
from tests.mirror import Mirror, offer, offer_sdist
from tests.simulator import Simulator

PROJECTS = 60
TRIALS = THOROUGH or 4


def offer_round(simulator: Simulator, number: int) -> None:
    """What changes upstream between two runs: files come and go, and so do projects."""
    for project in range(PROJECTS):
        name = f"project-{project}"
        if project % 3 == number % 3:
            offer(simulator, name, f"{number}.0")
        if number == 0:
            offer_sdist(simulator, name, "0.1")
    if number:
        for project in range(0, PROJECTS, 10):
            simulator.project(f"project-{project}").remove_release("0.1")
        simulator.delete_project(f"project-{PROJECTS - number}")


def real_run(victim: Victim, mirror: Mirror, last: float | None = None) -> dict[str, object]:
    """A run with real workers, killed with them after so many seconds."""
    pid = victim.run(mirror, real=True)["pid"]
    timer = None
    if last is not None:
        timer = threading.Timer(last, kill_with_children, (pid,))
        timer.start()
    try:
        return victim.answer()
    finally:
        if timer is not None:
            timer.cancel()
            timer.join()


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.timeout(100_000)
def test_a_run_killed_at_any_time(victim: Victim, simulator: Simulator, tmp_path: Path) -> None:
    chances = random.Random(20)
    offer_round(simulator, 0)
    sections = {"delete": {"grace": "0s", "max_share": 1.0}, "download": {"processes": 2}}
    before = Mirror(tmp_path / "before", simulator, **sections)
    assert real_run(victim, before)["state"] == "completed"
    offer_round(simulator, 1)
    whole = copy_of(before, tmp_path / "whole")
    began = time.monotonic()
    assert real_run(victim, whole)["state"] == "completed"
    takes = time.monotonic() - began
    after = served(whole)
    killed = 0
    for trial in range(TRIALS):
        mirror = copy_of(before, tmp_path / f"trial-{trial}")
        for _ in range(chances.choice([1, 1, 2, 3])):  # some are killed again and again
            answer = real_run(victim, mirror, chances.uniform(0, takes))
            killed += answer == {"killed": True}
            assert check(mirror.root, agree=False) == [], f"trial {trial}"
        ours = held(mirror)
        simulator.forget()
        answer = real_run(victim, mirror)
        assert answer["state"] == "completed", f"trial {trial}: {answer}"
        assert check(mirror.root) == [], f"trial {trial}"
        assert served(mirror) == after, f"trial {trial}"
        assert [name for name in ours if simulator.downloads(name)] == [], f"trial {trial}"
        assert leftovers(mirror) == [], f"trial {trial}"
        shutil.rmtree(mirror.base)
        print(f"{killed} runs were killed in {trial + 1} trials", flush=True)
    assert killed >= TRIALS // 2
