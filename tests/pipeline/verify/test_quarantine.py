"""The quarantine: bytes that failed are kept aside with claim, observation and address, capped in
size and age; releasing them never puts them onto a page without proof."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pypimirror.catalog.database import Catalog
from pypimirror.domain.model import Reason, Stage
from pypimirror.pipeline import sequence
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.verify import quarantine
from pypimirror.pipeline.verify.quarantine import NotInQuarantineError, QuarantineReport
from pypimirror.storage.workspace import Workspace
from tests.corpus.build import make_sdist, make_wheel
from tests.integrity.watching import Watcher
from tests.mirror import Mirror, offer, reasons
from tests.simulator import Corrupt, IndexFile, OtherFile, Simulator, Status

EVIL = b"something else altogether"


@pytest.fixture
def bad(mirror: Mirror, simulator: Simulator) -> IndexFile:
    """A wheel whose bytes were bad; another file of its project is published."""
    (file,) = offer(simulator, "six", "1.0")
    offer(simulator, "six", "2.0")
    simulator.fault(f"*/{file.filename}", Corrupt())
    assert mirror.sync().state == "incomplete"
    assert mirror.state(file.filename) == "quarantined"
    return file


def entries(mirror: Mirror) -> list[QuarantineReport]:
    return quarantine.entries(Workspace(mirror.root))


def bytes_of(mirror: Mirror, entry: QuarantineReport) -> Path:
    return mirror.root / ".pypimirror" / "quarantine" / str(entry.id)


def release(mirror: Mirror, name: str) -> bool:
    catalog, workspace = Catalog.open(mirror.config.catalog_url), Workspace(mirror.root)
    try:
        return quarantine.release(catalog, workspace, quarantine.find(workspace, name), 1)
    finally:
        catalog.close()


# What is kept


def test_bytes_that_fail_are_kept_with_claim_observation_and_address(
    mirror: Mirror, simulator: Simulator, bad: IndexFile
) -> None:
    (entry,) = entries(mirror)
    good = bytes(bad.content)
    seen = good[:-1] + bytes([good[-1] ^ 0xFF])
    assert bytes_of(mirror, entry).read_bytes() == seen
    assert (entry.project, entry.file) == ("six", bad.filename)
    assert (entry.reason, entry.url) == (Reason.DIGEST_MISMATCH, simulator.root + bad.path)
    assert (entry.claimed["sha256"], entry.claimed_size) == (bad.sha256, len(good))
    assert entry.observed["sha256"] == hashlib.sha256(seen).hexdigest()
    assert entry.observed_size == len(seen)
    (run,) = mirror.query("SELECT name, started_at FROM runs")
    assert entry.run == run["name"] and abs(entry.at - run["started_at"]) < 5
    assert bad.sha256 in entry.message


def test_the_page_goes_on_without_the_file_and_nothing_of_it_is_served(
    mirror: Mirror, bad: IndexFile
) -> None:
    assert bad.filename not in mirror.files("six") and len(mirror.files("six")) == 1
    assert not any(bad.filename in name for name in mirror.served())


def test_the_page_goes_on_with_the_last_good_one(mirror: Mirror, simulator: Simulator) -> None:
    """A changed digest is not taken over, and bad bytes behind it change nothing."""
    (file,) = offer(simulator, "six", "1.0")
    mirror.sync()
    before = mirror.path(file).read_bytes()
    file.replace(make_wheel("six", "1.0", padding=9)[1])
    simulator.fault(f"*/{file.filename}", Corrupt())
    mirror.sync()
    assert mirror.files("six") == [file.filename]
    assert mirror.path(file).read_bytes() == before


def test_a_broken_archive_is_kept_with_its_address(mirror: Mirror, simulator: Simulator) -> None:
    made = make_sdist("six", "1.0")
    broken = made[1][:-30]
    file = simulator.add_file("six", made[0], broken, digests=None, size=None)
    mirror.sync()
    (entry,) = entries(mirror)
    assert (entry.reason, entry.url) == (Reason.BAD_ARCHIVE, simulator.root + file.path)
    assert (entry.claimed, entry.claimed_size) == ({}, None)
    assert bytes_of(mirror, entry).read_bytes() == broken


def test_each_claim_is_seen_to_be_met_or_not(mirror: Mirror, simulator: Simulator) -> None:
    """A digest that proves little tells nevertheless who is to blame."""
    made = make_sdist("six", "1.0")
    simulator.add_file("six", made[0], made[1][:-30], digests=("md5",), size=None)
    mirror.sync()
    (entry,) = entries(mirror)
    assert "md5" not in entry.observed
    seen = quarantine.observed(Workspace(mirror.root), entry)
    assert seen.observed["md5"] == seen.claimed["md5"]
    bytes_of(mirror, entry).unlink()
    assert quarantine.observed(Workspace(mirror.root), entry) == entry


def test_of_several_attempts_the_last_is_kept(
    mirror: Mirror, simulator: Simulator, bad: IndexFile
) -> None:
    (first,) = entries(mirror)
    simulator.heal()
    simulator.fault(f"*/{bad.filename}", Corrupt(at=0))
    mirror.sync()
    (second,) = entries(mirror)
    assert second.run != first.run and second.observed != first.observed
    seen = bytes_of(mirror, second).read_bytes()
    assert hashlib.sha256(seen).hexdigest() == second.observed["sha256"]


def test_good_bytes_are_taken_when_they_come_and_the_entry_stays_for_whoever_asks(
    mirror: Mirror, simulator: Simulator, bad: IndexFile
) -> None:
    simulator.heal()
    assert mirror.sync().state == "completed"
    assert mirror.holds(bad)
    assert len(entries(mirror)) == 1


def test_unreadable_reports_are_passed_over(mirror: Mirror, bad: IndexFile) -> None:
    place = mirror.root / ".pypimirror" / "quarantine"
    (place / "77.json").write_text("{")
    (place / "78.json").write_text("{}")
    (place / "notes").write_text("")
    (entry,) = entries(mirror)
    told = json.loads((place / f"{entry.id}.json").read_text())
    for name, lie in {
        "79": {},  # it is of other bytes
        "80": {"id": 80, "reason": "bad-archive", "observed": {}},
        "81": {"id": 81, "reason": "bad-archive", "observed": {"sha256": "none"}},
        str(2**63): {"id": 2**63},
    }.items():
        (place / f"{name}.json").write_text(json.dumps(told | lie))
    assert entries(mirror) == [entry]
    assert mirror.sync().state == "incomplete"


# Release


@pytest.mark.parametrize("name", ["file", "id"])
def test_released_bytes_that_are_as_bad_as_before_reach_no_page(
    mirror: Mirror, simulator: Simulator, bad: IndexFile, name: str
) -> None:
    (entry,) = entries(mirror)
    assert release(mirror, bad.filename if name == "file" else str(entry.id))
    assert entries(mirror) == []
    assert bad.filename not in mirror.files("six")
    watcher = Watcher(mirror.root)
    with watcher.watching():
        result = mirror.sync()
    assert watcher.wrong == []
    assert reasons(result.failures) == {bad.filename: Reason.DIGEST_MISMATCH}
    assert bad.filename not in mirror.files("six")


def test_released_bytes_are_published_once_the_claim_was_put_right(
    mirror: Mirror, simulator: Simulator
) -> None:
    """The upstream's page had the wrong digest, and its bytes were right all along."""
    made = make_sdist("six", "1.0")
    claim = {"sha256": hashlib.sha256(EVIL).hexdigest()}
    file = simulator.add_file("six", *made, digests=claim)
    mirror.sync()
    assert release(mirror, file.filename)
    file.set(digests={"sha256": file.sha256})
    assert mirror.sync().state == "completed"
    assert mirror.holds(file)
    assert simulator.downloads(file.filename) == 1, "its bytes were here"


@pytest.mark.parametrize("digests", [None, ("md5",)], ids=["none", "md5"])
def test_released_bytes_without_a_strong_claim_must_still_be_an_archive(
    mirror: Mirror, simulator: Simulator, digests: tuple[str, ...] | None
) -> None:
    name, content = make_sdist("six", "1.0")
    said: dict[str, Any] = {"digests": digests, "size": None}
    file = simulator.add_file("six", name, content[:-30], **said)
    mirror.sync()
    assert release(mirror, name)
    result = mirror.sync()
    assert reasons(result.failures) == {name: Reason.BAD_ARCHIVE}
    assert mirror.files("six") == [] and not mirror.path(file).exists()
    assert len(entries(mirror)) == 1


def test_bytes_that_were_changed_in_quarantine_do_not_come_out_as_others(
    mirror: Mirror, bad: IndexFile
) -> None:
    (entry,) = entries(mirror)
    bytes_of(mirror, entry).write_bytes(EVIL)
    assert release(mirror, bad.filename)
    assert mirror.sync().state == "incomplete"
    assert bad.filename not in mirror.files("six")
    assert EVIL not in [path.read_bytes() for path in mirror.root.rglob("packages/*/*")]


def test_what_is_proven_or_forgotten_meanwhile_is_not_released(
    mirror: Mirror, simulator: Simulator, bad: IndexFile
) -> None:
    simulator.heal()
    mirror.sync()
    assert not release(mirror, bad.filename)
    assert len(entries(mirror)) == 1 and mirror.holds(bad)


def test_an_entry_whose_id_went_to_another_file_is_not_released_into_that(
    mirror: Mirror, simulator: Simulator, bad: IndexFile
) -> None:
    (entry,) = entries(mirror)
    place = mirror.root / ".pypimirror" / "quarantine"
    simulator.heal()
    (other,) = offer(simulator, "idna", "1.0")
    simulator.fault(f"*/{other.filename}", Status(500))
    mirror.sync()
    (row,) = mirror.query("SELECT id FROM files WHERE filename = ?", other.filename)
    bytes_of(mirror, entry).rename(place / str(row["id"]))
    report = msgspec.structs.replace(entry, id=row["id"])
    (place / f"{row['id']}.json").write_bytes(msgspec.json.encode(report))
    (place / f"{entry.id}.json").unlink()
    assert not release(mirror, bad.filename)
    assert mirror.state(other.filename) == "failed"


def test_an_entry_without_bytes_is_not_released(mirror: Mirror, bad: IndexFile) -> None:
    (entry,) = entries(mirror)
    bytes_of(mirror, entry).unlink()
    assert not release(mirror, bad.filename)
    assert mirror.state(bad.filename) == "quarantined"


def test_what_is_not_there_is_not_found(mirror: Mirror, bad: IndexFile) -> None:
    with pytest.raises(NotInQuarantineError, match="pypimirror quarantine"):
        quarantine.find(Workspace(mirror.root), "six-9.9.tar.gz")


# Caps


def many(mirror: Mirror, simulator: Simulator, sizes: list[int]) -> list[str]:
    """Entries of these sizes, each a day younger than the one before; the newest is of today."""
    found = []
    for number, size in enumerate(sizes):
        (file,) = offer(simulator, "six", f"{number}.0", size=None)
        simulator.fault(f"*/{file.filename}", OtherFile(b"x" * size))
        found.append(file.filename)
    mirror.sync()
    by_name = {entry.file: entry for entry in entries(mirror)}
    for days, name in enumerate(reversed(found)):
        entry = by_name[name]
        report = bytes_of(mirror, entry).with_name(f"{entry.id}.json")
        aged = msgspec.structs.replace(entry, at=entry.at - days * 86400.0)
        report.write_bytes(msgspec.json.encode(aged))
    return found


def trim(mirror: Mirror) -> list[str]:
    """Trim as of now; the files that are left, the oldest first."""
    workspace = Workspace(mirror.root)
    now = max(entry.at for entry in entries(mirror)) + 1
    quarantine.trim(workspace, mirror.config.quarantine, now)
    left = entries(mirror)
    kept = {str(entry.id) for entry in left} | {f"{entry.id}.json" for entry in left}
    assert {path.name for path in workspace.quarantine.iterdir()} == kept
    return [entry.file for entry in left]


@pytest.mark.parametrize(("days", "left"), [(10, 4), (2.5, 3), (0.5, 1)])
def test_entries_go_with_age(mirror: Mirror, simulator: Simulator, days: float, left: int) -> None:
    names = many(mirror, simulator, [10, 10, 10, 10])
    mirror.configure(quarantine={"max_age": f"{days}d"})
    assert mirror.config.quarantine.max_age == timedelta(days=days)
    assert trim(mirror) == names[-left:]


@pytest.mark.parametrize(("size", "left"), [(10**6, 4), (250, 2), (100, 1), (99, 0)])
def test_beyond_a_size_the_oldest_go_first(
    mirror: Mirror, simulator: Simulator, size: int, left: int
) -> None:
    names = many(mirror, simulator, [100, 100, 100, 100])
    mirror.configure(quarantine={"max_size": size})
    assert trim(mirror) == (names[-left:] if left else [])


def test_each_sync_trims(mirror: Mirror, simulator: Simulator) -> None:
    names = many(mirror, simulator, [100, 100])
    mirror.configure(quarantine={"max_age": "12h"})
    simulator.fault(f"*/{names[0]}", Status(500))
    mirror.sync()
    assert [entry.file for entry in entries(mirror)] == [names[1]]


def test_it_stays_small_within_a_run_too(mirror: Mirror, simulator: Simulator) -> None:
    """An upstream that has nothing but bad files does not fill the disk before the run ends."""
    for number in range(8):
        simulator.add_file("six", *make_wheel("six", f"{number}.0", padding=40_000))
    simulator.fault("/packages/*", Corrupt(at=100))
    mirror.configure(quarantine={"max_size": 100_000})

    def call(run: Run, stage: Stage, batch: Batch) -> None:
        if stage is Stage.VERIFY:
            raise KeyboardInterrupt
        sequence.perform(run, stage, batch)

    mirror.sync(work=lambda run: sequence.sync(run, call))
    assert 0 < sum(entry.observed_size for entry in entries(mirror)) <= 100_000


def test_bytes_whose_report_cannot_be_read_are_trimmed_as_well(
    mirror: Mirror, simulator: Simulator
) -> None:
    names = many(mirror, simulator, [100, 100])
    directory = mirror.root / ".pypimirror" / "quarantine"
    (directory / "77").write_bytes(b"x" * 100)
    (directory / "77.json").write_bytes(b"")
    os.utime(directory / "77", (1, 1))
    os.utime(directory / "77.json", (1, 1))
    assert trim(mirror) == names
    assert not (directory / "77").exists() and not (directory / "77.json").exists()


def test_bytes_that_another_machine_keeps_are_told_with_that_machine(
    mirror: Mirror, bad: IndexFile
) -> None:
    (entry,) = entries(mirror)
    here = quarantine.this_machine().host
    assert entry.host == here
    Workspace(mirror.root).drop(str(entry.id))  # as on a machine that never had them
    mirror.query(
        "INSERT INTO workers (run_id, name, executor, holder, host, state, started_at, expires_at,"
        " batches, projects) SELECT run_id, 'a', 'shard', '{}', 'builder-7', 'completed', 0, 0, 0,"
        " 0 FROM files WHERE filename = ?",
        bad.filename,
    )
    catalog = Catalog.open(mirror.config.catalog_url)
    try:
        told = quarantine.elsewhere(catalog, bad.filename)
        assert quarantine.elsewhere(catalog, "other-1.0.tar.gz") is None
    finally:
        catalog.close()
    assert told is not None
    assert told.startswith(f"{bad.filename}: is in quarantine, but its bytes are not on this")
    assert f"({here})" in told
    assert told.endswith("run this command on builder-7")
