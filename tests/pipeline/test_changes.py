"""The list of what a run changed: whoever repeats it in its order has a sound copy at each step."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.checker import check
from tests.mirror import Mirror, listing, offer
from tests.simulator import Simulator


def changes(mirror: Mirror) -> list[tuple[str, str]]:
    lines = (mirror.base / "changes.json").read_text().splitlines()
    return [(entry["change"], entry["path"]) for entry in map(json.loads, lines)]


@pytest.fixture
def noted(mirror: Mirror) -> Mirror:
    """A mirror that lists its changes as JSON."""
    mirror.configure(publish={"changes": "changes.json", "changes_format": "json"})
    return mirror


def test_what_was_added_changed_and_removed_is_listed(noted: Mirror, simulator: Simulator) -> None:
    (file,) = offer(simulator, "six", "1.0")
    noted.configure(delete={"max_share": 1.0})  # in the end, none is left
    noted.sync()
    path = f"packages/six/{file.filename}"
    pages = {"simple/six/index.html", "simple/six/index.v1_json", "simple/index.html",
             "simple/index.v1_json"}  # fmt: skip
    assert set(changes(noted)) == {("added", p) for p in {path, f"{path}.metadata", *pages}}
    noted.sync()
    assert changes(noted) == []
    file.yank("broken")
    noted.sync()
    assert set(changes(noted)) == {("changed", p) for p in pages}
    simulator.delete_project("six")
    noted.sync()
    assert {p for change, p in changes(noted) if change == "removed"} == {
        path, f"{path}.metadata", "simple/six/index.html", "simple/six/index.v1_json"
    }  # fmt: skip


def test_a_copy_that_repeats_the_list_in_its_order_is_sound_after_each_step(
    noted: Mirror, simulator: Simulator, tmp_path: Path
) -> None:
    noted.configure(publish={"formats": ["json"]})
    copy = tmp_path / "copy"
    old, _ = offer(simulator, "six", "1.0", "2.0")
    offer(simulator, "idna", "1.0")
    for step in range(4):
        noted.sync()
        for change, path in changes(noted):
            target = copy / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if change == "removed":
                target.unlink()
            elif (noted.root / path).exists():  # else it goes again further down
                shutil.copy2(noted.root / path, target)
            if (copy / "simple" / "index.v1_json").exists():
                assert [f for f in check(copy) if "root index does not list" not in f] == []
        here = listing(noted.root, without=".pypimirror")
        there = listing(copy)
        assert here.keys() == there.keys()
        match step:
            case 0:
                offer(simulator, "six", "3.0")
                old.remove()
            case 1:
                simulator.delete_project("idna")
            case 2:
                offer(simulator, "attrs", "1.0")


@pytest.mark.parametrize(("form", "end"), [("lines", "\n"), ("nul", "\0")])
def test_plain_lists_name_paths_only(
    mirror: Mirror, simulator: Simulator, form: str, end: str
) -> None:
    mirror.configure(publish={"changes": "lists/{run}.txt", "changes_format": form})
    offer(simulator, "six", "1.0")
    result = mirror.sync()
    text = (mirror.base / "lists" / f"{result.run}.txt").read_text()
    assert text.endswith(end)
    assert set(text.split(end)[:-1]) == {*listing(mirror.root, without=".pypimirror")}


def test_a_list_that_cannot_be_written_stops_the_run_with_its_path(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    (mirror.base / "occupied").write_text("")
    mirror.configure(publish={"changes": "occupied/list"})
    result = mirror.sync(sound=False)
    assert result.state == "failed"
    assert "occupied" in result.message
