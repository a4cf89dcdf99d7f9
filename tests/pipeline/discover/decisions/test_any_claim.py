"""Promise 10, whatever the upstream says: much that leaves by its words is stopped by the guard.

Random edits of every claim that an upstream makes of its files and projects, under a selection that
looks at each of them. The limits are the invariant: no run takes more off the pages than they allow
while the configuration stays; only what the upstream says it withholds goes, and is told.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest

from pypimirror.domain.model import Reason
from tests.mirror import Mirror, offer
from tests.sampling import sample
from tests.simulator import Simulator

PROJECTS, ROUNDS, MAX_SHARE = 6, 5, 0.1
LONG_AGO = "2025-01-01T00:00:00Z"

#: What the configuration asks of each claim, so that each can take a file off its page.
SELECT: dict[str, Any] = {
    "yanked": False,
    "older_than": "3d",
    "python": ["3.11"],
    "max_file_size": "1 MiB",
}
#: What may be said of a file in the place of the truth, by claim.
CLAIMS: dict[str, list[Any]] = {
    "yanked": [True, "", "bad", None],
    "upload_time": ["2999-01-01T00:00:00Z", "now", None, LONG_AGO],
    "requires_python": [">=4", "<3", "no specifier", ">=3.8", None],
    "size": [10**9, 0, 2**62, None],
    "digests": [{"sha256": "0" * 64}, {"md5": "0" * 32}, {}],
    "core_metadata": [True, False, {"sha256": "0" * 64}, None],
    "url": ["ftp://127.0.0.1/six", "http://192.0.2.1/six", "javascript:six"],
    "extra": [{"size": "text"}, {"yanked": []}, {"hashes": []}, {"upload-time": {}}],
}
STATUSES = ["active", "archived", "deprecated", "quarantined", "asleep"]


class Upstream:
    """What the upstream offers; `heal` has it say the truth again."""

    def __init__(self, simulator: Simulator, seed: int) -> None:
        self.simulator = simulator
        self.dice = random.Random(seed)
        self.files = [
            file for n in range(PROJECTS) for file in offer(simulator, f"p{n}", "1.0", "1.1")
        ]
        for file in self.files:
            file.set(upload_time=LONG_AGO)
        self.true = {
            id(file): {name: getattr(file, name) for name in CLAIMS} for file in self.files
        }

    @property
    def withheld(self) -> set[str]:
        """The files of projects that are quarantined."""
        return {f.filename for f in self.files if f.project.status == "quarantined"}

    def edit(self) -> None:
        """Say something else of some files, and of some projects."""
        share = self.dice.choice([0.1, 0.5, 1.0])
        claims = self.dice.sample(sorted(CLAIMS), self.dice.choice([1, 1, 3]))
        for file in self.some(self.files, share):
            file.set(**{name: self.dice.choice(CLAIMS[name]) for name in claims})
        if self.dice.random() < 0.4:
            for file in self.some(self.files, share):
                if file in file.project.files:
                    file.project.files.remove(file)
                    file.project.touch()
        if self.dice.random() < 0.4:
            for project in self.some([f.project for f in self.files], share / 2):
                project.set_status(self.dice.choice(STATUSES), None, moves_serial=True)

    def some(self, things: list[Any], share: float) -> list[Any]:
        return [thing for thing in things if self.dice.random() < share]

    def heal(self) -> None:
        """Say the truth, and offer everything."""
        for file in self.files:
            if file not in file.project.files:
                file.project.files.append(file)
            file.project.set_status("active", None, moves_serial=True)
            file.set(**self.true[id(file)])


def listed(mirror: Mirror) -> set[str]:
    return {name for project in mirror.projects for name in mirror.files(project)}


def recorded(mirror: Mirror, run: str) -> set[str]:
    """The reasons of a run's failures, also of one that the guard stopped."""
    query = "SELECT reason FROM failures JOIN runs ON runs.id = run_id WHERE runs.name = ?"
    return {row["reason"] for row in mirror.query(query, run)}


def is_allowed(lost: Iterable[str], held: int) -> bool:
    """Whether the limits let these files leave; of one project alone they always do."""
    gone = list(lost)
    return len(gone) <= MAX_SHARE * held or len({name.split("-")[0] for name in gone}) == 1


@pytest.mark.parametrize("seed", sample(range(8), 0))
def test_no_words_of_the_upstream_take_more_than_the_guard_allows(
    mirror: Mirror, simulator: Simulator, seed: int
) -> None:
    upstream = Upstream(simulator, seed)
    mirror.configure(select=SELECT, delete={"max_share": MAX_SHARE, "grace": "24h"})
    assert mirror.sync().state == "completed"
    everything = listed(mirror)
    assert len(everything) == 2 * PROJECTS
    for _ in range(ROUNDS):
        before = listed(mirror)
        upstream.edit()
        result = mirror.sync()
        lost = before - listed(mirror)
        assert is_allowed(lost - upstream.withheld, len(before)), (result.state, lost)
        if not is_allowed(lost, len(before)):
            assert Reason.QUARANTINED_UPSTREAM in recorded(mirror, result.run)
        assert all(mirror.path(file).exists() for file in upstream.files), "no byte is lost"
    upstream.heal()
    assert mirror.sync().state == "completed"
    assert listed(mirror) == everything
    mirror.configure(select={"exclude": ["p0", "p1", "p2"]})
    assert mirror.sync().state == "completed", "what is deselected does not count"
    assert mirror.projects == [f"p{n}" for n in range(3, PROJECTS)]
