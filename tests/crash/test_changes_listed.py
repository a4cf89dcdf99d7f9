"""The list of changes after a death: what the run did that was killed is in that of the next."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.crash.harness import Victim, copy_of
from tests.mirror import Mirror, offer
from tests.simulator import Simulator


def repeated(mirror: Mirror, copy: Path) -> dict[str, bytes]:
    """Do to a copy what the list says, from the mirror as it is now; what the copy has then."""
    found = mirror.base / "changes.json"
    for line in found.read_text().splitlines() if found.exists() else ():
        path = json.loads(line)["path"]
        source, target = mirror.root / path, copy / path
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        else:
            target.unlink(missing_ok=True)
    return served(copy)


def served(root: Path) -> dict[str, bytes]:
    """What a web server has."""
    found = (path for top in ("simple", "packages") for path in (root / top).rglob("*"))
    return {str(path.relative_to(root)): path.read_bytes() for path in found if path.is_file()}


@pytest.mark.thorough
@pytest.mark.slow
def test_what_a_killed_run_changed_is_in_the_next_list(
    victim: Victim, simulator: Simulator, tmp_path: Path
) -> None:
    changes = {"changes": "changes.json", "changes_format": "json"}
    delete = {"grace": "0s", "max_share": 1.0}
    before = Mirror(tmp_path / "before", simulator, delete=delete, publish=changes)
    old, _ = offer(simulator, "six", "1.0", "2.0")
    offer(simulator, "idna", "1.0")
    assert victim.run(before)["state"] == "completed"
    old.remove()
    offer(simulator, "six", "3.0")
    simulator.delete_project("idna")
    whole = victim.run(copy_of(before, tmp_path / "whole"))
    assert (whole["state"], whole["steps"] > 40) == ("completed", True)
    for step in range(1, whole["steps"] + 1, 4):
        mirror = copy_of(before, tmp_path / f"killed-{step}")
        assert victim.run(mirror, step=step) == {"killed": True}
        copy = copy_of(before, tmp_path / f"copy-{step}").root
        repeated(mirror, copy)  # empty, unless the run died after all that it was to do
        # Once more, a little later: what two dead runs did is not lost either.
        victim.run(mirror, step=7)
        repeated(mirror, copy)
        assert victim.run(mirror)["state"] == "completed"
        assert repeated(mirror, copy) == served(mirror.root), f"before step {step}"
        assert victim.run(mirror)["state"] == "completed"
        assert (mirror.base / "changes.json").read_text() == ""
        for directory in (mirror.base, copy.parent):
            shutil.rmtree(directory)
