"""What Prometheus is told is true, and can be read by it."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Connection

from pypimirror.catalog.database import Catalog
from pypimirror.catalog.queries import statistics
from pypimirror.metrics import exposition
from pypimirror.system import clock
from tests.mirror import Mirror, offer
from tests.simulator import Simulator, Status

Figures = dict[tuple[str, ...], float]


def read(text: bytes) -> Figures:
    """Samples by name and the values of their labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def figures(mirror: Mirror) -> Figures:
    return read(exposition.render(mirror.config))


@pytest.fixture
def mirror(tmp_path: Path, simulator: Simulator) -> Mirror:
    return Mirror(tmp_path, simulator, delete={"grace": "0s"})


def test_a_mirror_that_is_up_to_date(mirror: Mirror, simulator: Simulator) -> None:
    held = offer(simulator, "six", "1.0", "2.0")
    before = time.time()
    mirror.sync()
    found = figures(mirror)
    assert found["pypimirror_catalog_up",] == 1
    assert before <= found["pypimirror_last_complete_sync_timestamp_seconds",] <= time.time()
    age = found["pypimirror_last_complete_sync_age_seconds",]
    assert 0 <= age <= found["pypimirror_lag_seconds",] <= time.time() - before
    assert found["pypimirror_files", "published"] == 2
    assert found["pypimirror_held_bytes",] == sum(len(bytes(file.content)) for file in held)
    assert found["pypimirror_upstream_serial", "sim0"] == simulator.index.serial
    assert found["pypimirror_serial",] == simulator.project("six").serial
    assert found["pypimirror_backlog_projects",] == 0
    assert found["pypimirror_proven_share", "1"] == 1
    assert found["pypimirror_last_run_success", "sync"] == 1
    assert found["pypimirror_free_bytes",] > 0
    assert found["pypimirror_runs_in_progress",] == 0
    downloaded = found["pypimirror_last_run_downloaded_bytes", "sync"]
    assert downloaded == found["pypimirror_held_bytes",]


def test_what_failed_and_what_is_open(mirror: Mirror, simulator: Simulator) -> None:
    bad, _ = offer(simulator, "six", "1.0", "2.0")
    simulator.fault(bad, Status(404))
    mirror.sync()
    found = figures(mirror)
    assert ("pypimirror_last_complete_sync_timestamp_seconds",) not in found
    assert found["pypimirror_last_run_success", "sync"] == 0
    assert found["pypimirror_last_run_failures", "sync", "missing"] == 1
    assert found["pypimirror_last_run_failures", "sync", "digest-mismatch"] == 0
    assert found["pypimirror_backlog_files", "failed"] == 1
    assert found["pypimirror_backlog_projects",] == 1
    assert found["pypimirror_backlog_files", "waiting"] == 0
    mirror.sync()  # the first try again is at once, the second one later
    found = figures(mirror)
    assert found["pypimirror_backlog_projects",] == 0
    assert found["pypimirror_backlog_files", "waiting"] == 1
    simulator.heal()
    mirror.sync("six")
    found = figures(mirror)
    assert found["pypimirror_backlog_files", "failed"] == 0
    assert found["pypimirror_files", "published"] == 2
    name = ("pypimirror_last_complete_sync_timestamp_seconds",)
    assert name not in found, "a sync of some projects says nothing about the others"


def test_how_far_verification_is(mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0", "2.0", "3.0", "4.0")
    mirror.sync()
    catalog = Catalog.open(mirror.config.catalog_url)
    now = time.time()
    mirror.query("UPDATE files SET proven_at = ? WHERE filename LIKE '%-1.0-%'", now - 3 * 86400)
    with catalog.write() as connection:
        statistics.keep(connection, statistics.take(connection, now))
    catalog.close()
    found = figures(mirror)
    assert found["pypimirror_proven_share", "1"] == 0.75
    assert found["pypimirror_proven_share", "7"] == 1
    assert found["pypimirror_oldest_proof_timestamp_seconds",] == pytest.approx(now - 3 * 86400)


def test_a_run_that_changes_nothing_counts_nothing(mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    counted = figures(mirror)["pypimirror_counted_timestamp_seconds",]
    mirror.sync()
    assert figures(mirror)["pypimirror_counted_timestamp_seconds",] == counted
    offer(simulator, "six", "2.0")
    mirror.sync()
    assert figures(mirror)["pypimirror_counted_timestamp_seconds",] > counted


@pytest.mark.sqlite
def test_without_a_catalog_the_rest_is_told(mirror: Mirror) -> None:
    assert figures(mirror)["pypimirror_catalog_up",] == 0
    assert not mirror.root.exists()
    mirror.sync()
    (mirror.root / ".pypimirror" / "catalog.sqlite").write_bytes(b"nonsense")
    found = figures(mirror)
    assert found["pypimirror_catalog_up",] == 0
    assert found["pypimirror_free_bytes",] > 0


def test_each_run_writes_the_textfile(mirror: Mirror, simulator: Simulator) -> None:
    mirror.configure(metrics={"textfile": "text/mirror.prom"})
    file = mirror.base / "text" / "mirror.prom"
    offer(simulator, "six", "1.0")
    mirror.sync()
    found = read(file.read_bytes())
    assert found["pypimirror_files", "published"] == 1
    assert found["pypimirror_runs_in_progress",] == 0
    assert file.stat().st_mode & 0o777 == 0o644
    assert list(file.parent.iterdir()) == [file]
    first = file.stat().st_ino
    mirror.sync()
    assert file.stat().st_ino != first, "also one that had nothing to do"


def test_a_textfile_that_cannot_be_written_spoils_no_run(
    mirror: Mirror, simulator: Simulator
) -> None:
    (mirror.base / "text").touch()
    mirror.configure(metrics={"textfile": "text/mirror.prom"})
    offer(simulator, "six", "1.0")
    assert mirror.sync().state == "completed"


def test_where_counting_takes_long_it_is_done_now_and_then_only(
    mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = statistics.take

    def slow(connection: Connection, now: float) -> statistics.Statistics:
        return msgspec.structs.replace(take(connection, now), took=2.0)

    monkeypatch.setattr(statistics, "take", slow)
    offer(simulator, "six", "1.0")
    mirror.sync()
    counted = figures(mirror)["pypimirror_counted_timestamp_seconds",]
    offer(simulator, "six", "2.0")
    mirror.sync()
    found = figures(mirror)
    assert found["pypimirror_counted_timestamp_seconds",] == counted
    assert found["pypimirror_files", "published"] == 2, "known without counting"

    offer(simulator, "six", "3.0")
    monkeypatch.setattr(clock, "now", lambda: time.time() + 86_401)
    mirror.sync()
    assert figures(mirror)["pypimirror_counted_timestamp_seconds",] > counted + 86_400
