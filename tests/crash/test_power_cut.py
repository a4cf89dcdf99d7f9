"""Promises 3 and 4 on disk: what was not flushed may be lost or torn, in any combination."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from tests.crash.harness import SCENARIOS, Scenario, Victim, copy_of, known, served
from tests.crash.power import Recording
from tests.crash.thorough import FEW, THOROUGH
from tests.mirror import Mirror
from tests.sampling import sample
from tests.simulator import Simulator

#: Before these, more is at stake than before any other.
_TELLING = ("flush", "commit", "end")


def recorded(scenario: Scenario, base: Path) -> Recording:
    """Do the run to its end, and note every step on the way."""
    record = base / "record"
    mirror = copy_of(scenario.mirror, base)
    answer = scenario.victim.run(mirror, command=scenario.command, record=str(record))
    assert answer["state"] == "completed"
    scenario.after, scenario.knows = served(mirror), known(mirror)
    return Recording(record)


#: What takes longest.
EXTRA = [("update", "file", 1), ("repair", "file", 1), ("first", "batch", 1)]


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "durability", "stride"),
    sample(
        [
            ("update", "batch", 9),
            ("update", "batch", FEW),
            ("removal", "batch", FEW),
            ("removal", "file", FEW),
            ("repair", "batch", FEW),
            *(EXTRA if THOROUGH else []),
        ],
        ("update", "batch", 9),
    ),
)
def test_a_power_cut_at_any_step(
    victim: Victim, simulator: Simulator, tmp_path: Path, name: str, durability: str, stride: int
) -> None:
    scenario = SCENARIOS[name](victim, simulator, tmp_path / "before")
    scenario.mirror.configure(mirror={"durability": durability})
    # Where a file is in place and in staging, its page is rendered without it in between.
    scenario.serials = False
    scenario.undisturbed(tmp_path / "undisturbed")
    recording = recorded(scenario, tmp_path / "recorded")
    chances = random.Random(20)
    cuts = range(1, len(recording.moments))
    if not THOROUGH:
        cuts = [c for c in cuts if recording.moments[c].what in _TELLING or c % 7 == 0]
    seen: set[int] = set()
    for cut in cuts[::stride]:
        for state in recording.states(cut, chances, max(1, THOROUGH // 20)):
            if state.key in seen:
                continue
            seen.add(state.key)
            mirror = Mirror(tmp_path / f"{len(seen)}", simulator, **scenario.mirror.sections)
            state.write(mirror.root)
            scenario.resume(mirror, state.label)
            shutil.rmtree(mirror.base)
    print(f"{name}, {durability}: {len(seen)} states")
