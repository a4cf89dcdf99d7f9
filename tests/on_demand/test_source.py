"""The keeper takes what it can from the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from pypimirror.on_demand.keeping.source import StoreFetcher, StoreRoom
from pypimirror.on_demand.store import Fetched
from tests.mirror import Mirror


@pytest.mark.parametrize("reserve", [0, 1 << 60], ids=["nothing reserved", "less than reserved"])
def test_a_full_disk_keeps_no_file_from_its_place_that_is_in_the_store(
    reserve: int, tmp_path: Path
) -> None:
    """It was given up, and its bytes were removed, though a link takes no space."""
    source = StoreFetcher(cast("Any", None), cast("Any", None))
    source.hold({2: Fetched("six", "six-1.0.zip", path="x"), 3: Fetched("six", "six-2.0.zip")})
    mirror = Mirror(tmp_path, mirror={"reserve": reserve})
    mirror.root.mkdir()
    room = StoreRoom(mirror.config, source)
    taken, problem = room.claim(dict.fromkeys((1, 2, 3), 1 << 50))
    assert taken == {2}
    assert problem is not None
    assert room.claim({2: 1 << 50}) == ({2}, None)


def test_a_shortage_of_space_stops_only_what_does_not_come_from_the_store(tmp_path: Path) -> None:
    source = StoreFetcher(cast("Any", None), cast("Any", None))
    mirror = Mirror(tmp_path, mirror={"reserve": 1 << 60})
    mirror.root.mkdir()
    room = StoreRoom(mirror.config, source)
    source.hold({1: Fetched("six", "six-1.0.zip", path="x")})
    room.claim({1: 500})
    assert room.shortage() is None
    room.claim({2: 0})  # of unknown size
    assert room.shortage() is not None
    room.settle([2])
    assert room.shortage() is None
