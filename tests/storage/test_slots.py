"""The room on the disk that the processes of a run share."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pypimirror.storage import slots
from pypimirror.storage.slots import Slots
from pypimirror.system import space
from pypimirror.system.space import Room


@pytest.fixture
def rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Room, Room, Slots]:
    """Two processes with 1,000 free bytes, of which 100 stay free, and what the first one has."""
    monkeypatch.setattr(space, "free", lambda path: 1000)
    one, two = (Slots(tmp_path / "room", 3, mine) for mine in (0, 1))
    return Room(tmp_path, 100, one), Room(tmp_path, 100, two), one


def test_what_one_process_has_claimed_is_not_there_for_another_until_it_has_come(
    rooms: tuple[Room, Room, Slots],
) -> None:
    one, two, _ = rooms
    assert one.claim({1: 600}) == ({1}, None)
    taken, problem = two.claim({2: 301})
    assert taken == set() and problem is not None
    one.received(1, 500)
    assert two.claim({2: 301}) == ({2}, None)
    two.settle([2])
    one.settle([1, 9])
    assert two.claim({3: 900}) == ({3}, None)


def test_a_dead_process_expects_nothing(rooms: tuple[Room, Room, Slots], tmp_path: Path) -> None:
    one, two, seen_by_one = rooms
    two.claim({2: 900})
    assert one.claim({1: 1})[0] == set()
    seen_by_one.clear(1)
    assert one.claim({1: 1})[0] == {1}
    two.claim({2: 800})
    Slots(tmp_path / "room", 3, 1)  # another process takes its place
    assert one.claim({3: 800})[0] == {3}


def test_nobody_waits_for_ever_for_a_process_that_was_stopped(
    rooms: tuple[Room, Room, Slots], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "_PATIENCE", 0.0)
    one, _, stopped = rooms[1], rooms[0], rooms[2]
    with stopped.alone():
        assert one.claim({1: 1}) == ({1}, None)


def test_claims_at_the_same_time_share_the_room(rooms: tuple[Room, Room, Slots]) -> None:
    """Each process takes what fits by small steps; together they take what there is."""
    taken: list[int] = []

    def claim(room: Room, first: int) -> None:
        for number in range(first, first + 100):
            taken.extend(room.claim({number: 10})[0])

    threads = [threading.Thread(target=claim, args=(rooms[n], 100 * n)) for n in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 90
