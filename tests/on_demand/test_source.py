"""The keeper takes what it can from the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from pypimirror.on_demand.keeping.source import StoreFetcher, StoreRoom
from pypimirror.on_demand.store import Fetched
from tests.mirror import Mirror


def test_a_full_disk_keeps_no_file_from_its_place_that_is_in_the_store(tmp_path: Path) -> None:
    """It was given up, and its bytes were removed, though a link takes no space."""
    source = StoreFetcher(cast("Any", None), cast("Any", None))
    source.hold({2: Fetched("six", "six-1.0.zip", path="x"), 3: Fetched("six", "six-2.0.zip")})
    mirror = Mirror(tmp_path, mirror={"reserve": 0})
    mirror.root.mkdir()
    room = StoreRoom(mirror.config, source)
    taken, problem = room.claim(dict.fromkeys((1, 2, 3), 1 << 50))
    assert taken == {2}
    assert problem is not None
    assert room.claim({4: 0}) == ({4}, None)
