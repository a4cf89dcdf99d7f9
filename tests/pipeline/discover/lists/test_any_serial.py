"""An index may lie about its serials in any way, another one each day: nothing is hidden for ever.

A random index: in each round some files come, are yanked or go, and each project says of its serial
whatever it likes, in the list and on its page. No run fails for it, and no page is ever about
something that the index has never said. Once validators are not believed any more, and the time has
passed in which every project is asked for, the mirror has what the index has, whatever still lies.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.mirror import Mirror, offer
from tests.sampling import sample
from tests.simulator import SetHeaders, Simulator, pages
from tests.simulator.index import Index, IndexProject

NAMES = ("aa", "bb", "cc", "dd")
ROUNDS = 4
#: Longer than any validator is believed.
LONG = 8 * 86_400


def a_serial(true: int, dice: random.Random) -> Any:
    """What somebody may say in the place of a serial."""
    truths: list[Any] = [true, str(true), float(true), true + 7, -true, 10**6 - true]
    stale: list[Any] = [1, 1, "1", 1.0, 1.5, 0, "0", 10**9, 2**62, 2**63, 10**400]
    none: list[Any] = [None, None, "", "x", [], {}, True, [true]]
    return dice.choice(dice.choice([truths, stale, none]))


class Liar:
    """Says something about serials, which stays the same until `speak`."""

    def __init__(self, seed: int, index: Index) -> None:
        self.dice = random.Random(seed)
        self.index = index
        self.said: dict[tuple[str, str], Any] = {}
        self.speak()

    def speak(self) -> None:
        """Think of something else: for all, for some, or for none, whose serials stand still."""
        share = self.dice.choice([0.0, 0.5, 1.0])
        for name in NAMES:
            for place in ("list", "page"):
                if (name, place) not in self.said or self.dice.random() < share:
                    true = self.index.project(name).serial
                    self.said[name, place] = a_serial(true, self.dice)

    def list(self, index: Index, style: pages.Style) -> bytes:
        rows = []
        for project in pages.listed(index):
            serial = self.said[project.name, "list"]
            said = {} if serial is None else {"_last-serial": serial}
            rows.append({"name": project.name, **said})
        return pages.encode({"meta": {"api-version": "1.4"}, "projects": rows})

    def page(self, project: IndexProject, style: pages.Style) -> bytes:
        files = [pages.json_file(file, style) for file in project.shown_files]
        meta = {"api-version": "1.4", "_last-serial": self.said[project.name, "page"]}
        return pages.encode({"meta": meta, "name": project.normalized, "files": files})

    def change(self, round_: int, simulator: Simulator) -> None:
        """Let files come, be yanked, or go; at least one of each project stays."""
        for name in NAMES:
            match self.dice.randrange(4):
                case 0:
                    offer(simulator, name, f"{round_}.{self.dice.randrange(9)}")
                case 1:
                    self.dice.choice(simulator.project(name).files).yank(f"round {round_}")
                case 2 if len(simulator.project(name).files) > 1:
                    simulator.project(name).files[0].remove()


def offered(simulator: Simulator) -> dict[str, dict[str, Any]]:
    return {
        name: {file.filename: file.yanked or False for file in simulator.project(name).files}
        for name in NAMES
    }


def mirrored(mirror: Mirror) -> dict[str, dict[str, Any]]:
    return {
        name: {file["filename"]: file["yanked"] for file in mirror.page(name)["files"]}
        for name in mirror.projects
    }


@pytest.mark.parametrize("seed", sample(range(6), 0))
def test_no_lie_about_serials_hides_a_change_for_ever(
    mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    for name in NAMES:
        offer(simulator, name, "0.1", "0.2")
        simulator.fault(f"/simple/{name}/", SetHeaders({"X-PyPI-Last-Serial": None}))
    liar = Liar(seed, simulator.index)
    monkeypatch.setattr(pages, "json_list", liar.list)
    monkeypatch.setattr(pages, "json_project", liar.page)
    mirror.configure(delete={"max_share": 1.0})
    assert mirror.sync().state == "completed"
    was_offered = {name: [files] for name, files in offered(simulator).items()}
    assert mirrored(mirror) == offered(simulator)
    for round_ in range(1, ROUNDS + 1):
        liar.change(round_, simulator)
        liar.speak()
        for name, files in offered(simulator).items():
            was_offered[name].append(files)
        assert mirror.sync().state == "completed"
        for name, files in mirrored(mirror).items():
            assert files in was_offered[name], "half of a page, or one that was never said"
    for table in ("lists", "projects"):
        mirror.query(f"UPDATE {table} SET read_at = read_at - {LONG}")
    earlier = f"CAST(CAST(value AS DOUBLE PRECISION) - {LONG} AS TEXT)"
    mirror.query(f"UPDATE marks SET value = {earlier} WHERE name LIKE 'recheck %'")
    assert mirror.sync().state == "completed"
    assert mirrored(mirror) == offered(simulator)
