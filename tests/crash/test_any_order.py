"""Everything that may befall a mirror, in any order, against a model of what it must then hold.

The model is what the upstream has and what was done to the disk; nothing is
shared with the program.
THOROUGH=1000 python -m pytest tests/crash/test_any_order.py
"""

from __future__ import annotations

import errno
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from tests.checker import check
from tests.crash.harness import Victim, held, leftovers
from tests.crash.thorough import THOROUGH
from tests.mirror import Mirror, offer, offer_sdist
from tests.simulator import Corrupt, IndexFile, Simulator

PROJECTS = ("attrs", "idna", "six")
projects = st.sampled_from(PROJECTS)
steps = st.integers(1, 60)


class Life(RuleBasedStateMachine):
    """One mirror of one upstream."""

    victim: Victim
    counts: dict[str, int]

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp(prefix="life-"))
        self.simulator = Simulator()
        self.simulator.__enter__()
        limits = {"grace": "0s", "max_share": 1.0}
        self.mirror = Mirror(self.base / "m", self.simulator, delete=limits)
        self.version = 0
        self.offered: list[IndexFile] = []
        self.spoiled: dict[str, Any] = {}  # upstream's bytes are not what it says: name to rule
        self.doubtful: set[str] = set()  # were spoiled: may wait for their next try
        self.damaged: set[str] = set()  # on disk, by us
        self.withheld: set[str] = set()  # projects that the upstream quarantines

    def teardown(self) -> None:
        self.simulator.__exit__(None, None, None)
        shutil.rmtree(self.base)

    # The upstream

    @rule(project=projects, sdist=st.booleans(), sound=st.integers(0, 4))
    def publish(self, project: str, sdist: bool, sound: int) -> None:
        self.offer(project, sdist, sound > 0)

    def offer(self, project: str, sdist: bool, sound: bool) -> None:
        self.version += 1
        if sdist:
            file = offer_sdist(self.simulator, project, f"{self.version}.0")
        else:
            (file,) = offer(self.simulator, project, f"{self.version}.0")
        self.offered.append(file)
        if not sound:
            name = file.filename
            self.spoiled[name] = self.simulator.fault(f"*/{name}", Corrupt())

    @precondition(lambda self: self.offered)
    @rule(data=st.data(), yanked=st.booleans())
    def yank(self, data: st.DataObject, yanked: bool) -> None:
        data.draw(st.sampled_from(self.offered)).set(yanked=yanked)

    @precondition(lambda self: self.offered)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        file = data.draw(st.sampled_from(self.offered))
        file.remove()
        self.offered.remove(file)

    @rule(project=projects)
    def delete(self, project: str) -> None:
        if project in self.simulator.index.projects:
            self.simulator.delete_project(project)
        self.offered = [file for file in self.offered if file.project.name != project]
        self.withheld.discard(project)

    @rule(project=projects)
    def quarantine(self, project: str) -> None:
        if any(file.project.name == project for file in self.offered):
            self.simulator.project(project).quarantine()
            self.withheld.add(project)

    @precondition(lambda self: self.withheld)
    @rule()
    def release(self) -> None:
        self.simulator.project(self.withheld.pop()).activate(moves_serial=True)

    @precondition(lambda self: self.spoiled)
    @rule()
    def heal(self) -> None:
        name, fault = self.spoiled.popitem()
        self.simulator.heal(fault)
        self.doubtful.add(name)

    # The disk

    @precondition(lambda self: self.on_disk())
    @rule(data=st.data(), how=st.sampled_from(["flip", "cut", "lose"]))
    def damage(self, data: st.DataObject, how: str) -> None:
        path = data.draw(st.sampled_from(self.on_disk()))
        content = bytearray(path.read_bytes())
        self.damaged.add(path.name.removesuffix(".metadata"))
        if how == "lose":
            path.unlink()
        elif how == "cut":
            path.write_bytes(content[: len(content) // 2])
        else:
            content[len(content) // 2] ^= 1
            path.write_bytes(content)

    def on_disk(self) -> list[Path]:
        return sorted(p for p in (self.mirror.root / "packages").rglob("*") if p.is_file())

    # Runs

    def run(self, **job: Any) -> dict[str, Any]:
        """A run downloads nothing of what was verified and is sound."""
        ours = held(self.mirror) - self.damaged
        self.simulator.forget()
        answer = self.victim.run(self.mirror, **job)
        again = [name for name in ours if self.simulator.downloads(name)]
        assert again == [], again
        return answer

    @rule()
    def sync(self) -> None:
        answer = self.run()
        self.counts["syncs"] += 1
        assert answer["state"] in ("completed", "incomplete"), answer
        self.agrees()

    @rule(step=steps, repairing=st.booleans(), project=projects)
    def kill(self, step: int, repairing: bool, project: str) -> None:
        self.offer(project, sdist=True, sound=True)  # something to do
        answer = self.run(step=step, command="repair" if repairing else "sync")
        self.counts["kills"] += "killed" in answer

    @rule(
        step=steps,
        fault=st.sampled_from([errno.ENOSPC, errno.EIO, errno.EACCES]),
        repairing=st.booleans(),
        project=projects,
    )
    def fail(self, step: int, fault: int, repairing: bool, project: str) -> None:
        self.offer(project, sdist=False, sound=True)
        answer = self.run(step=step, fault=fault, command="repair" if repairing else "sync")
        self.counts["faults"] += answer.get("at") is not None
        # The last commit forgets old runs, when all is done.
        if answer["at"] not in (None, ["commit", ""]):
            # A path that cannot be made or replaced is a fault of the files there alone.
            one_path = answer["at"][0] in ("mkdir", "rename") and answer["failures"]
            assert answer["state"] in ("failed", "refused") or one_path, answer

    @rule()
    def repair(self) -> None:
        answer = self.run(command="repair")
        self.counts["repairs"] += 1
        assert answer["state"] in ("completed", "incomplete"), answer
        # What a repair cannot fetch is off its page; so nothing that is linked is damaged.
        self.damaged.clear()
        assert check(self.mirror.root, agree=False) == []

    # What holds

    def agrees(self) -> None:
        """After a sync, each page has what the upstream has, but for what nobody can get."""
        assert leftovers(self.mirror) == []
        expected: dict[str, dict[str, bool]] = {name: {} for name in PROJECTS}
        for file in self.offered:
            if file.project.name not in self.withheld:
                expected[file.project.name][file.filename] = bool(file.yanked)
        for project in PROJECTS:
            there = self.mirror.has_page(project)
            page = self.mirror.page(project)["files"] if there else []
            found = {file["filename"]: bool(file["yanked"]) for file in page}
            excused = self.spoiled.keys() | self.doubtful | self.damaged
            for name in found.keys() | expected[project].keys():
                if found.get(name) != expected[project].get(name):
                    assert name in excused, (project, name, found, expected[project])
                    assert name not in found or found[name] == expected[project].get(name), name
        self.doubtful &= {file.filename for file in self.offered}

    @invariant()
    def promises_one_to_three(self) -> None:
        wrong = check(self.mirror.root, agree=False)
        ours = [line for line in wrong if not any(name in line for name in self.damaged)]
        assert ours == []


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.timeout(100_000)
def test_any_order_of_events(victim: Victim, simulator: Simulator, tmp_path: Path) -> None:
    offer(simulator, "six", "1.0")
    victim.run(Mirror(tmp_path, simulator), warm=True)
    counts = dict.fromkeys(("syncs", "repairs", "kills", "faults"), 0)
    machine = type("Machine", (Life,), {"victim": victim, "counts": counts})
    many = settings(
        max_examples=THOROUGH or 8,
        stateful_step_count=40 if THOROUGH else 25,
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    try:
        run_machine(machine, settings=many)
    finally:
        print(counts)
    assert all(counts.values())
