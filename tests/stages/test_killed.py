"""Promise 4: killed anywhere, the mirror is sound without repair, and the next run finishes.

Every change of what is served and every commit of the catalog is a place to die at.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.mirror import Mirror, offer, offer_sdist
from tests.simulator import Simulator

#: The steps are spread over so many tests, which run side by side.
SHARES = 4


class Killer:
    """Talks to `tests.stages.killing`."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.stages.killing"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def sync(self, mirror: Mirror, step: int | None = None) -> dict[str, Any]:
        """Sync; die right before a step."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"config": str(mirror.file), "step": step}) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


@pytest.fixture
def killer() -> Iterator[Killer]:
    running = Killer()
    yield running
    assert running.process.stdin is not None
    running.process.stdin.close()
    running.process.wait(30)


def copy_of(mirror: Mirror, base: Path) -> Mirror:
    """The same mirror somewhere else."""
    copy = Mirror(base, *mirror.simulators, **mirror.sections)
    if mirror.root.exists():
        shutil.copytree(mirror.root, copy.root)
    return copy


def die_everywhere(
    killer: Killer, mirror: Mirror, tmp_path: Path, share: int, expected: dict[str, list[str]]
) -> int:
    """Kill a sync before each step, look, and let a second sync finish; count the steps."""
    (simulator,) = mirror.simulators
    for step in range(1 + share, 1000, SHARES):
        victim = copy_of(mirror, tmp_path / f"killed-{step}")
        answer = killer.sync(victim, step)
        if "killed" not in answer:
            assert answer["state"] == "completed"
            return int(answer["steps"])
        victim.check(agree=False)
        held = set()
        if (victim.root / ".pypimirror" / "catalog.sqlite").exists():
            with_files = victim.query("SELECT name FROM sqlite_master WHERE name = 'files'")
            rows = "SELECT filename FROM files WHERE state IN (2, 3)"
            held = {row["filename"] for row in victim.query(rows)} if with_files else set()
        simulator.forget()
        assert killer.sync(victim)["state"] == "completed", f"after step {step}"
        victim.check()
        assert {name: victim.files(name) for name in victim.projects} == expected
        for filename in held:
            assert simulator.downloads(filename) == 0, f"{filename}, after step {step}"
        names = {path.name for path in (victim.root / "packages").rglob("*") if path.is_file()}
        wanted = {file for files in expected.values() for file in files}
        assert {name.removesuffix(".metadata") for name in names} == wanted
        assert list((victim.root / ".pypimirror").glob("page.*")) == []
        assert list((victim.root / ".pypimirror" / "staging").iterdir()) == []
        assert victim.query("SELECT name FROM projects WHERE todo") == []
        states = [row["state"] for row in victim.query("SELECT state FROM runs ORDER BY id")]
        assert states[-1] == "completed"
        assert set(states[:-1]) <= {"completed", "crashed"}
        shutil.rmtree(victim.base)
    raise AssertionError("a sync without end")


@pytest.mark.slow
@pytest.mark.parametrize("share", range(SHARES))
def test_a_first_sync_killed_at_any_step(
    killer: Killer, simulator: Simulator, tmp_path: Path, share: int
) -> None:
    (wheel,) = offer(simulator, "six", "1.0")
    sdist = offer_sdist(simulator, "idna", "1.0")
    mirror = Mirror(tmp_path / "base", simulator, delete={"grace": "0s"})
    expected = {"idna": [sdist.filename], "six": [wheel.filename]}
    steps = die_everywhere(killer, mirror, tmp_path, share, expected)
    assert steps > 20


@pytest.mark.slow
@pytest.mark.parametrize("share", range(SHARES))
def test_a_sync_that_brings_and_takes_killed_at_any_step(
    killer: Killer, simulator: Simulator, tmp_path: Path, share: int
) -> None:
    """A new file, a new project, a removed file and a deleted project, all in one run."""
    gone, kept = offer(simulator, "six", "1.0", "1.1")
    offer(simulator, "idna", "1.0")
    delete = {"grace": "0s", "max_share": 1.0}
    mirror = Mirror(tmp_path / "base", simulator, delete=delete)
    killer.sync(mirror)
    gone.remove()
    (new,) = offer(simulator, "six", "2.0")
    simulator.delete_project("idna")
    (other,) = offer(simulator, "attrs", "1.0")
    expected = {"attrs": [other.filename], "six": [kept.filename, new.filename]}
    steps = die_everywhere(killer, mirror, tmp_path, share, expected)
    assert steps > 20


def test_a_run_killed_in_the_middle_of_a_download_leaves_a_sound_mirror(
    killer: Killer, simulator: Simulator, tmp_path: Path
) -> None:
    """Killed from outside, while one file is verified and another is half here."""
    (done,) = offer(simulator, "six", "1.0")
    mirror = Mirror(tmp_path / "base", simulator)
    killer.sync(mirror)
    (late,) = offer(simulator, "idna", "1.0", core_metadata=None)
    hold = simulator.hold(late, after=100)
    script = (
        "import sys; from pathlib import Path; from pypimirror.config import load\n"
        "from pypimirror.stages import sequence\n"
        "from pypimirror.stages.run import sync\n"
        "sync(load(Path(sys.argv[1])), (), sequence.sync, trigger='test')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(mirror.file)])
    hold.wait_reached()
    process.kill()
    process.wait(30)
    mirror.check()
    assert mirror.query("SELECT state FROM runs ORDER BY id DESC")[0]["state"] == "running"
    hold.release()
    assert mirror.sync().state == "completed"
    assert mirror.projects == ["idna", "six"]
    assert simulator.downloads(done.filename) == 1
    assert mirror.query("SELECT state FROM runs ORDER BY id")[1]["state"] == "crashed"
