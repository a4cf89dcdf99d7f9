"""What a run leaves to requests; `test_beside_syncs` has the same with a fetcher."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from pypimirror.catalog.database import Catalog, Connection
from pypimirror.catalog.marks import LEFT
from pypimirror.catalog.queries.work import asked
from pypimirror.domain.model import Stage
from pypimirror.pipeline import sequence
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.run import Run
from tests.mirror import Mirror, offer
from tests.on_demand.site import until
from tests.pipeline.asked.clients import fetcher
from tests.simulator import Simulator


def test_clients_who_ask_again_and_again_keep_no_run_from_its_end(
    simulator: Simulator, tmp_path: Path
) -> None:
    """The request never gets the file, and is followed by another one without a moment between."""
    offer(simulator, "six", "1.0")
    mirror = Mirror(
        tmp_path, simulator, select={"projects": ["six"]}, on_demand={"projects": ["*"]}
    )
    mirror.sync("six")
    (file,) = offer(simulator, "six", "2.0")
    pair = ("six", file.filename)
    ended = threading.Event()

    def again_and_again() -> None:
        at = 1.0
        with closing(Catalog.open(mirror.catalog_url)) as catalog:
            while not ended.wait(0.01):
                if mirror.query("SELECT 1 FROM marks WHERE name = ?", LEFT.name):
                    at += 1
                    with catalog.write() as connection:
                        asked.forget(connection, [pair], worker.id)
                        asked.ask(connection, pair, worker.id, at)

    def call(run: Run, stage: Stage, batch: Batch) -> object:
        if stage is Stage.DISCOVER and batch.projects:
            with run.catalog.write() as connection:
                asked.ask(connection, pair, worker.id, 1.0)
        return sequence.perform(run, stage, batch)

    with fetcher(mirror) as worker:
        clients = threading.Thread(target=again_and_again)
        clients.start()
        try:
            summary = mirror.sync(work=lambda run: sequence.sync(run, call))
        finally:
            ended.set()
            clients.join()
    assert summary.state == "completed"
    assert mirror.holds(file)


def test_a_run_waits_for_a_request_that_takes_over_what_a_dead_one_had(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would fetch the file itself at the same time."""
    offer(simulator, "six", "1.0")
    mirror = Mirror(
        tmp_path, simulator, select={"projects": ["six"]}, on_demand={"projects": ["*"]}
    )
    mirror.sync("six")
    (file,) = offer(simulator, "six", "2.0")
    pair = ("six", file.filename)
    looks, under_way = threading.Semaphore(0), asked.under_way
    downloads = []

    def look(connection: Connection, names: Iterable[str]) -> dict[asked.Pair, float]:
        looks.release()
        return under_way(connection, names)

    def change(work: Callable[[Connection], object]) -> None:
        with closing(Catalog.open(mirror.catalog_url)) as catalog, catalog.write() as connection:
            work(connection)

    def take_over() -> None:
        until(lambda: mirror.query("SELECT 1 FROM marks WHERE name = ?", LEFT.name))
        monkeypatch.setattr(asked, "under_way", look)
        looks.acquire()  # the run waits for the first one now
        dead.close()
        change(lambda connection: asked.ask(connection, pair, heir.id, 2.0))
        for _ in range(3):
            looks.acquire()
        downloads.append(simulator.downloads(file.filename))
        change(lambda connection: asked.forget(connection, [pair], heir.id))

    def call(run: Run, stage: Stage, batch: Batch) -> object:
        if stage is Stage.DISCOVER and batch.projects and not downloads:
            with run.catalog.write() as connection:
                asked.ask(connection, pair, first.id, 1.0)
        return sequence.perform(run, stage, batch)

    with ExitStack() as dead, fetcher(mirror) as heir:
        first = dead.enter_context(fetcher(mirror))
        taking = threading.Thread(target=take_over)
        taking.start()
        assert mirror.sync(work=lambda run: sequence.sync(run, call)).state == "completed"
        taking.join()
    assert downloads == [0]
    assert mirror.holds(file)


def test_a_run_waits_for_no_request_of_a_file_that_it_did_not_leave(
    simulator: Simulator, tmp_path: Path
) -> None:
    """Another file of the same project, for which there was no room, and that never comes."""
    file, large = offer(simulator, "six", "1.0", "2.0")
    large.set(size=8 * 10**12)
    mirror = Mirror(
        tmp_path, simulator, select={"projects": ["six"]}, on_demand={"projects": ["*"]}
    )
    mirror.configure(download={"max_file_size": "2000 TiB"})
    left, other = ("six", file.filename), ("six", large.filename)

    def call(run: Run, stage: Stage, batch: Batch) -> object:
        with run.catalog.write() as connection:
            if stage is Stage.DISCOVER and batch.projects:
                asked.ask(connection, left, worker.id, 1.0)
            if stage is Stage.PUBLISH and batch.projects:
                asked.forget(connection, [left], worker.id)
                asked.ask(connection, other, worker.id, 1.0)
        return sequence.perform(run, stage, batch)

    mirror.sync("six", work=lambda _: None)
    with fetcher(mirror) as worker:
        summary = mirror.sync(work=lambda run: sequence.sync(run, call))
    assert "not enough space" in summary.message
    assert mirror.holds(file)
