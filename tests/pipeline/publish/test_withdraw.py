"""What leaves does so in chunks, so that memory does not grow with it; a death between two is no
harm. Promises 4 and 5.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Row

from pypimirror.catalog.queries import files, projects, withdrawals
from pypimirror.pipeline.publish import withdraw
from tests.mirror import Mirror, offer
from tests.simulator import IndexFile, Simulator


@pytest.fixture
def held(
    mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[IndexFile]]:
    """Seven projects of three files each, in a mirror that lets two go at a time."""
    found = [file for n in range(7) for file in offer(simulator, f"p{n}", "1.0", "1.1", "1.2")]
    mirror.sync()
    mirror.configure(delete={"max_share": 1.0})
    for module in (files, withdrawals, projects):
        monkeypatch.setattr(module, "CHUNK", 2)
    return found


def test_all_that_leaves_goes_however_many_chunks_that_takes(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile]
) -> None:
    for n in range(5):
        simulator.delete_project(f"p{n}")
    held[-1].remove()
    planned = mirror.plan()
    assert len(planned.withdraw) == len(planned.remove) == 16
    assert list(planned.publish) == ["p6"]
    result = mirror.sync()
    assert (result.state, result.counts["files_withdrawn"]) == ("completed", 16)
    assert mirror.projects == ["p5", "p6"]
    assert sorted(path.name for path in mirror.root.glob("packages/*")) == ["p5", "p6"]
    assert not mirror.path(held[-1]).exists()
    assert mirror.query("SELECT id FROM files WHERE withdrawn_at IS NOT NULL") == []


@pytest.mark.parametrize("chunk", [1, 4, 7])
def test_a_run_that_dies_between_two_chunks_leaves_a_sound_mirror_and_is_finished(
    mirror: Mirror,
    simulator: Simulator,
    held: list[IndexFile],
    monkeypatch: pytest.MonkeyPatch,
    chunk: int,
) -> None:
    mirror.select("p5", "p6")
    done = []
    one = withdraw._withdraw

    def dying(run: Any, rows: list[Row[Any]]) -> None:
        if len(done) == chunk:
            raise KeyboardInterrupt
        done.append(rows)
        one(run, rows)

    monkeypatch.setattr(withdraw, "_withdraw", dying)
    assert mirror.sync(sound=False).state == "cancelled"
    mirror.check()
    assert len(mirror.projects) == 7
    monkeypatch.setattr(withdraw, "_withdraw", one)
    assert mirror.sync().state == "completed"
    assert mirror.projects == ["p5", "p6"]
    assert sorted(path.name for path in mirror.root.glob("packages/*")) == ["p5", "p6"]
    left = mirror.query("SELECT COUNT(*) AS n FROM files WHERE withdrawn_at IS NOT NULL")
    assert left[0]["n"] == 0


def test_what_the_guard_let_through_is_not_refused_after_a_death(
    mirror: Mirror,
    simulator: Simulator,
    held: list[IndexFile],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mirror.configure(delete={"max_share": 15 / 21})
    for n in range(5):
        simulator.delete_project(f"p{n}")
    one, done = withdraw._withdraw, []

    def dying(run: Any, rows: list[Row[Any]]) -> None:
        if done:
            raise KeyboardInterrupt
        done.append(rows)
        one(run, rows)

    monkeypatch.setattr(withdraw, "_withdraw", dying)
    assert mirror.sync(sound=False).state == "cancelled"
    mirror.check()
    monkeypatch.setattr(withdraw, "_withdraw", one)
    assert mirror.sync().state == "completed"
    assert mirror.projects == ["p5", "p6"]
