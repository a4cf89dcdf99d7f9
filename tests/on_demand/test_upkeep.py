"""Files that are not used any more go in a short run, which a fetcher starts."""

from __future__ import annotations

from pathlib import Path

from pypimirror.on_demand.keeping import upkeep
from pypimirror.on_demand.messages import Here
from tests.mirror import offer
from tests.on_demand.fetcher import Fetcher, on_demand
from tests.simulator import Simulator


def test_a_short_run_lets_go_of_files_while_the_fetcher_works(
    simulator: Simulator, tmp_path: Path
) -> None:
    old, new = offer(simulator, "six", "1.0", "2.0")
    mirror = on_demand(tmp_path, simulator)
    with Fetcher(mirror) as fetcher:
        for file in (old, new):
            assert isinstance(fetcher.file("six", file.filename), Here)
            fetcher.wait_placed(mirror, file.filename)
        mirror.configure(on_demand={"max_size": f"{new.size} B"}, delete={"grace": "0s"})
        upkeep.evict(mirror.config)
        assert mirror.files("six") == [new.filename]
        assert mirror.projects == ["six"]  # the short run has written the root index
        assert isinstance(fetcher.page("six"), Here)
    mirror.check()
    (row,) = mirror.query("SELECT * FROM runs WHERE command = 'evict'")
    assert row["state"] == "completed" and row["trigger"] == "request"


def test_the_fetcher_tells_figures(simulator: Simulator, tmp_path: Path) -> None:
    with Fetcher(on_demand(tmp_path, simulator)) as fetcher:
        assert fetcher.wait_figures().keys() == {
            "upstream_pages_total",
            "upstream_bytes_total",
            "store_bytes",
        }
