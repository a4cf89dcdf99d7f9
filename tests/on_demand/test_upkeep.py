"""Files that are not used any more go in a short run, which a fetcher starts."""

from __future__ import annotations

import os
import threading
from contextlib import closing
from pathlib import Path
from queue import Queue

import pytest

from pypimirror.on_demand import opening
from pypimirror.on_demand.files import DeskFiles
from pypimirror.on_demand.grouped import Grouped
from pypimirror.on_demand.keeping import upkeep
from pypimirror.on_demand.messages import Here
from pypimirror.on_demand.pages import DeskPages
from pypimirror.on_demand.store import Store
from pypimirror.system.disk_errors import StorageError
from tests.mirror import offer
from tests.on_demand.fetcher import PATIENCE, Fetcher, on_demand
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


def test_the_upkeep_lets_go_of_what_is_beyond_the_limit_and_tells_it(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = offer(simulator, "six", "1.0", "2.0")
    mirror = on_demand(tmp_path, simulator)
    with Fetcher(mirror) as fetcher:
        for file in (old, new):
            assert isinstance(fetcher.file("six", file.filename), Here)
            fetcher.wait_placed(mirror, file.filename)
    mirror.configure(on_demand={"max_size": f"{new.size} B"})
    monkeypatch.setattr(upkeep, "MINUTE", 0.05)
    told: Queue[dict[str, float]] = Queue()
    ending = threading.Event()
    with opening.opened(mirror.config) as opened:
        own = upkeep.Upkeep(opened.keeping, opened.store, dict, told.put)
        thread = threading.Thread(target=own.work, args=(ending,))
        thread.start()
        while told.get(timeout=PATIENCE)["evicted_files_total"] != 1:
            pass
        ending.set()
        thread.join()
    assert mirror.files("six") == [new.filename]


def test_an_error_does_not_end_the_upkeep(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "MINUTE", 0.05)
    told: Queue[dict[str, float]] = Queue()
    ending = threading.Event()
    errors = iter([OSError("the catalog is away"), StorageError("x", OSError(28, "full"))])

    def figures() -> dict[str, float]:
        for error in errors:
            raise error
        return {}

    with opening.opened(on_demand(tmp_path, simulator).config) as opened:
        own = upkeep.Upkeep(opened.keeping, opened.store, figures, told.put)
        thread = threading.Thread(target=own.work, args=(ending,))
        thread.start()
        assert told.get(timeout=PATIENCE)["store_bytes"] == 0
        ending.set()
        thread.join()


def test_pages_that_nobody_asked_for_go(simulator: Simulator, tmp_path: Path) -> None:
    for name in ("old", "new"):
        offer(simulator, name, "1.0")
    mirror = on_demand(tmp_path, simulator)
    with Fetcher(mirror) as fetcher:
        pages = {name: fetcher.page(name) for name in ("old", "new")}
    with closing(Store(mirror.root / ".pypimirror")) as store:
        assert store.listing("old") is not None
        os.utime(store.directory / "listings" / "old.json", (0, 0))
        assert store.forget_old(before=1) == 1
        assert store.listing("old") is None and store.listing("new") is not None
    left = [name for name, page in pages.items() if Path(getattr(page, "path", "-")).exists()]
    assert left == ["new"]


def test_the_fetcher_tells_figures(simulator: Simulator, tmp_path: Path) -> None:
    with Fetcher(on_demand(tmp_path, simulator)) as fetcher:
        assert fetcher.wait_figures().keys() == {
            "evicted_files_total",
            "upstream_pages_total",
            "upstream_files_total",
            "upstream_bytes_total",
            "store_bytes",
        }


def test_requests_for_files_and_core_metadata_are_counted(
    simulator: Simulator, tmp_path: Path
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    with opening.opened(on_demand(tmp_path, simulator).config) as opened:
        run, store = opened.run, opened.store
        grouped = Grouped(run.catalog, run.lanes.priority.given_up)
        pages = DeskPages(run, store)
        files = DeskFiles(
            run, store, pages, grouped, lambda: opened.worker.id, lambda _: None, lambda _: None
        )
        for _ in range(2):
            for name in (f"{file.filename}.metadata", file.filename):
                assert isinstance(files.file("six", name, lambda _: None), Here)
        assert (pages.asked, files.asked) == (1, 2)
