"""A database that is away for a while is waited for; one that stays away ends the run."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypimirror.catalog import database as catalogs
from pypimirror.catalog.database import CatalogError
from pypimirror.pipeline.summary import Summary
from tests.mirror import Mirror, offer
from tests.postgresql import Server
from tests.simulator import Simulator


class Syncing(threading.Thread):
    """A sync in a thread of its own."""

    def __init__(self, mirror: Mirror) -> None:
        super().__init__(daemon=True)
        self.mirror = mirror
        self.summary: Summary | None = None
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.summary = self.mirror.sync(sound=False)
        except Exception as error:  # noqa: BLE001 - for the test to look at
            self.error = error

    def end(self) -> None:
        self.join(100)
        assert not self.is_alive()


@pytest.fixture
def waiting() -> Iterator[threading.Event]:
    """Set when the catalog is being waited for."""
    event = threading.Event()

    class Watch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "waiting for the catalog" in record.getMessage():
                event.set()

    watch = Watch()
    catalogs.log.addHandler(watch)
    yield event
    catalogs.log.removeHandler(watch)


@pytest.fixture
def mirror(tmp_path: Path, simulator: Simulator, own_server: Server) -> Mirror:
    """A mirror whose database a test may stop."""
    return Mirror(tmp_path, simulator, mirror={"catalog": own_server.url("postgres")})


def test_a_server_that_restarts_during_a_sync_costs_nothing(
    mirror: Mirror, simulator: Simulator, own_server: Server, waiting: threading.Event
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    hold = simulator.hold(file)
    syncing = Syncing(mirror)
    hold.wait_reached()
    own_server.stop()
    hold.release()
    assert waiting.wait(60)  # with the file fetched, and nowhere to say so
    own_server.start()
    syncing.end()
    assert syncing.summary is not None, syncing.error
    assert syncing.summary.state == "completed"
    assert mirror.files("six") == [file.filename]
    assert simulator.downloads(file.filename) == 1
    mirror.check()


def test_a_server_that_stays_away_ends_the_run_and_the_next_goes_on(
    mirror: Mirror,
    simulator: Simulator,
    own_server: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catalogs, "PATIENCE", 0.0)
    (file,) = offer(simulator, "six", "1.0")
    hold = simulator.hold(file)
    syncing = Syncing(mirror)
    hold.wait_reached()
    own_server.stop()
    hold.release()
    syncing.end()
    assert isinstance(syncing.error, CatalogError)
    assert "refused" in str(syncing.error)
    own_server.start()
    assert mirror.sync().state == "completed"
    states = [row["state"] for row in mirror.query("SELECT state FROM runs ORDER BY id")]
    assert states == ["crashed", "completed"]


def test_a_database_that_is_not_there_is_said_at_once(
    tmp_path: Path, simulator: Simulator, own_server: Server, waiting: threading.Event
) -> None:
    mirror = Mirror(tmp_path, simulator, mirror={"catalog": own_server.url("nosuch")})
    with pytest.raises(CatalogError, match=r"nosuch.*does not exist"):
        mirror.sync()
    assert not waiting.is_set()
