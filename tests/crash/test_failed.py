"""A disk that fails at any step: the run says so, the mirror is sound, the next run finishes."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from tests.crash.harness import SCENARIOS, Victim, copy_of
from tests.crash.thorough import FEW, THOROUGH
from tests.sampling import sample
from tests.simulator import Simulator

FAULTS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS)


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("name", list(SCENARIOS))
def test_a_disk_that_fails_at_any_step(
    victim: Victim, simulator: Simulator, tmp_path: Path, name: str
) -> None:
    """In CI one fault for some steps, in turn; thoroughly, all of them for each."""
    scenario = SCENARIOS[name](victim, simulator, tmp_path / "before")
    scenario.undisturbed(tmp_path / "undisturbed")
    scenario.serials = False  # a page may be rendered without what failed in between
    for step in range(1, scenario.steps + 1, FEW):
        for fault in FAULTS if THOROUGH else (FAULTS[step % len(FAULTS)],):
            mirror = copy_of(scenario.mirror, tmp_path / f"failed-{step}-{fault}")
            answer = victim.run(mirror, command=scenario.command, step=step, fault=fault)
            said = f"{errno.errorcode[fault]} at step {step} of {scenario.steps}: {answer}"
            is_of_path = fault in (errno.EIO, errno.EACCES)
            if answer["state"] == "completed":
                # The end of a worker is noted and old runs are forgotten when all is done. A rename
                # mends what was in the way, and a later run removes what a worker has left.
                is_last = answer["at"][0] == "commit" and step >= answer["steps"] - 1
                is_left_over = answer["at"][0] == "rmdir" and "/staging/" in answer["at"][1]
                is_removal = answer["at"][0] in ("remove", "rmdir") and is_of_path
                assert is_last or is_left_over or is_removal, said
            elif answer["state"] == "incomplete":  # of one path: others go on (promise 7)
                assert is_of_path, said
                assert {failure["reason"] for failure in answer["failures"]} == {"disk"}, said
                assert all(str(mirror.root) in f["message"] for f in answer["failures"]), said
            else:  # failed with exit code 3, both; refused is what could not even be recorded
                assert answer["state"] in ("failed", "refused"), said
                assert str(mirror.root) in answer["message"], said
                assert "fault of this program" not in answer["message"], said
            if mirror.root.exists():
                scenario.resume(mirror, said)
            shutil.rmtree(mirror.base)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "stride"),
    sample([("update", 23), *((name, FEW) for name in SCENARIOS)], ("update", 23)),
)
def test_a_disk_that_fails_for_one_worker_at_any_step_beside_another(
    victim: Victim, simulator: Simulator, tmp_path: Path, name: str, stride: int
) -> None:
    """One worker that cannot go on ends the run with its problem. The next run does the rest."""
    scenario = SCENARIOS[name](victim, simulator, tmp_path / "before")
    scenario.undisturbed(tmp_path / "undisturbed")
    scenario.serials = False
    both = copy_of(scenario.mirror, tmp_path / "both")
    steps = victim.run(both, command=scenario.command, pair=True)["steps"]
    ends = set()
    for step in range(1, steps + 1, stride):
        fault = FAULTS[step % len(FAULTS)]
        mirror = copy_of(scenario.mirror, tmp_path / f"failed-{step}-{fault}")
        answer = victim.run(mirror, command=scenario.command, step=step, fault=fault, pair=True)
        said = f"{errno.errorcode[fault]} at step {step} of {steps}: {answer}"
        ends.add(answer["state"])
        if answer["state"] == "incomplete":  # of one path: others go on (promise 7)
            assert fault in (errno.EIO, errno.EACCES), said
            assert {failure["reason"] for failure in answer["failures"]} == {"disk"}, said
        elif answer["state"] != "completed":  # what fails at the very end of a worker harms nobody
            assert answer["state"] == "failed", said
            assert str(mirror.root) in answer["message"], said
            assert "fault of this program" not in answer["message"], said
        scenario.resume(mirror, said)
        shutil.rmtree(mirror.base)
    assert "failed" in ends
