"""A clock that jumps, both ways: what was noted ahead of now is not believed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from email.utils import formatdate

import pytest

from pypimirror.catalog import lease
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.holder import Holder, Machine
from pypimirror.catalog.queries import leases
from pypimirror.domain.errors import LockedError
from pypimirror.domain.model import Reason
from pypimirror.metrics.exposition import collect
from pypimirror.pipeline.verify import quarantine
from pypimirror.storage.workspace import Workspace
from pypimirror.system import clock
from tests.mirror import Mirror, offer, reasons
from tests.pipeline.audit.test_audit import verify
from tests.simulator import IndexFile, SetHeaders, Simulator

YEARS = 4 * 365 * 86_400.0

_real = time.time


@pytest.fixture
def jump(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the clock ahead of the right time by so many seconds."""

    def to(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: _real() + seconds)

    return to


@pytest.fixture
def ahead(mirror: Mirror, simulator: Simulator, jump: Callable[[float], None]) -> list[IndexFile]:
    """A mirror that was synced and verified four years ahead; the clock is right again."""
    found = offer(simulator, "six", "1.0", "2.0")
    jump(YEARS)
    assert mirror.sync().state == "completed"
    assert verify(mirror).state == "completed"
    jump(0)
    return found


def age(mirror: Mirror) -> float:
    found = collect(mirror.config).get_sample_value("pypimirror_last_complete_sync_age_seconds")
    assert found is not None
    return found


def number(mirror: Mirror, statement: str, *parameters: object) -> int:
    return int(mirror.query(f"SELECT count(*) FROM {statement}", *parameters)[0][0])


def rot(mirror: Mirror, file: IndexFile) -> None:
    path = mirror.path(file)
    rotten = bytearray(path.read_bytes())
    rotten[40] ^= 1
    path.write_bytes(rotten)


def test_a_proof_of_the_future_is_none(mirror: Mirror, ahead: list[IndexFile]) -> None:
    rot(mirror, ahead[0])
    found = verify(mirror, max_age=7 * 86_400.0)
    assert reasons(found.failures) == {ahead[0].filename: Reason.DIGEST_MISMATCH}


def test_a_proof_of_the_past_is_one_still(
    mirror: Mirror, ahead: list[IndexFile], jump: Callable[[float], None]
) -> None:
    assert verify(mirror).state == "completed"
    rot(mirror, ahead[0])
    assert verify(mirror, max_age=7 * 86_400.0).failures == []
    jump(8 * 86_400.0)
    assert verify(mirror, max_age=7 * 86_400.0).failures != []


@pytest.mark.parametrize("jumps", [(YEARS, 0.0), (0.0, -YEARS), (YEARS, -YEARS, 0.0)])
def test_no_run_of_the_future_hides_that_syncs_fail(
    mirror: Mirror,
    simulator: Simulator,
    jump: Callable[[float], None],
    jumps: tuple[float, ...],
) -> None:
    """Whichever way the clock goes, the age of the last complete sync grows from then on."""
    offer(simulator, "six", "1.0")
    for seconds in jumps[:-1]:
        jump(seconds)
        assert mirror.sync().state == "completed"
    jump(jumps[-1])
    if jumps[-2] > jumps[-1]:
        assert age(mirror) == float("inf")
    with simulator.refusing():
        mirror.sync(sound=False)
    jump(jumps[-1] + 86_400.0)
    assert 86_000 < age(mirror) < 90_000 + max(0.0, jumps[-1] - jumps[-2])


def test_metrics_tell_no_time_of_the_future(
    mirror: Mirror, ahead: list[IndexFile], jump: Callable[[float], None]
) -> None:
    """`time() - …_timestamp_seconds > …` is what alerts compare."""
    told = [
        sample
        for metric in collect(mirror.config).collect()
        for sample in metric.samples
        if sample.name.endswith("_timestamp_seconds")
    ]
    assert len(told) == 5
    assert {sample.value for sample in told} == {0.0}
    jump(YEARS)
    names = {s.name for s in told}
    for metric in collect(mirror.config).collect():
        assert all(s.value > 1e9 for s in metric.samples if s.name in names)


def test_what_was_withdrawn_before_there_was_a_clock_has_its_grace_from_now_on(
    mirror: Mirror, simulator: Simulator, jump: Callable[[float], None]
) -> None:
    """A machine without a battery begins in 1970; when its clock is set, no grace is over."""
    mirror.configure(delete={"grace": "1h"})
    old, _ = offer(simulator, "six", "1.0", "2.0")
    mirror.sync()
    jump(-_real())
    old.remove()
    mirror.sync()
    jump(0)
    mirror.sync()
    assert mirror.path(old).exists()
    jump(3700.0)
    mirror.sync()
    assert not mirror.path(old).exists()


def test_a_page_that_was_modified_in_the_future_is_not_asked_for_by_that(
    mirror: Mirror, simulator: Simulator
) -> None:
    """The upstream's clock was wrong once: "not modified since 2030" would hide all changes."""
    offer(simulator, "six", "1.0")
    later = formatdate(_real() + YEARS, usegmt=True)
    simulator.fault("/simple/*", SetHeaders({"Last-Modified": later, "ETag": None}))
    mirror.sync()
    offer(simulator, "six", "2.0")
    simulator.forget()
    mirror.sync()
    assert all("If-Modified-Since" not in request.headers for request in simulator.requests)
    assert len(mirror.files("six")) == 2


def test_what_was_withdrawn_in_the_future_has_its_grace_from_now_on(
    mirror: Mirror, simulator: Simulator, jump: Callable[[float], None]
) -> None:
    mirror.configure(delete={"grace": "1h"})
    old, _ = offer(simulator, "six", "1.0", "2.0")
    jump(YEARS)
    mirror.sync()
    old.remove()
    mirror.sync()
    jump(0)
    mirror.sync()
    assert mirror.path(old).exists()
    jump(3700.0)
    mirror.sync()
    assert not mirror.path(old).exists()


def test_a_page_that_was_read_in_the_future_is_asked_for_again(
    mirror: Mirror, simulator: Simulator, ahead: list[IndexFile]
) -> None:
    simulator.forget()
    mirror.sync()
    assert [r.path for r in simulator.requests if r.path.endswith("/six/")]
    for column in ("projects WHERE checked_at", "runs WHERE ended_at", "stages WHERE ended_at"):
        assert number(mirror, f"{column} > ?", _real() + 60) == 0


@pytest.mark.parametrize("seconds", [-YEARS, YEARS])
def test_a_clock_that_jumps_during_a_run_makes_it_neither_long_nor_negative(
    mirror: Mirror, simulator: Simulator, jump: Callable[[float], None], seconds: float
) -> None:
    offer(simulator, "six", "1.0")

    def work(run: object) -> None:
        jump(seconds)

    result = mirror.sync(work=work)
    assert 0 <= result.seconds < 600
    assert number(mirror, "runs WHERE ended_at < started_at") == 0


def test_clocks_that_differ_a_little_are_believed(
    mirror: Mirror, simulator: Simulator, jump: Callable[[float], None]
) -> None:
    """Machines that share a mirror agree within minutes: that is no reason to read all again."""
    offer(simulator, "six", "1.0")
    jump(clock.SLACK / 2)
    mirror.sync()
    jump(0)
    mirror.sync()
    assert number(mirror, "files WHERE proven_at > ?", _real()) == 1


def test_a_lease_of_the_future_lasts_as_long_as_any_other(
    mirror: Mirror, simulator: Simulator, jump: Callable[[float], None]
) -> None:
    """Its holder, of whom nothing is known, is dead after a minute at most."""
    offer(simulator, "six", "1.0")
    mirror.sync()
    elsewhere = Holder(Machine("elsewhere", "another", "boot", "container"), 4711, 1, "token")
    jump(YEARS)
    catalog = Catalog.open(mirror.config.catalog_url)
    with catalog.write() as connection:
        leases.put(connection, elsewhere, lease.PACE.lifetime)
    catalog.close()
    jump(0)
    with pytest.raises(LockedError, match=r"try again in (59|60) s"):
        mirror.sync()
    jump(lease.PACE.lifetime + 1)
    assert mirror.sync().state == "completed"


@pytest.mark.parametrize("report", [b'{"broken"', b""])
def test_what_went_to_quarantine_in_the_future_goes_in_its_time(
    mirror: Mirror, simulator: Simulator, jump: Callable[[float], None], report: bytes
) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    workspace = Workspace(mirror.root)
    for name in ("7", "7.json"):
        (workspace.quarantine / name).write_bytes(report)
        os.utime(workspace.quarantine / name, (_real() + YEARS, _real() + YEARS))
    astray = workspace.quarantine / "8"  # it has a time of its own
    astray.symlink_to("nowhere")
    os.utime(astray, (_real() + YEARS, _real() + YEARS), follow_symlinks=False)
    limits = mirror.config.quarantine
    age = limits.max_age.total_seconds()
    quarantine.trim(workspace, limits, _real())
    assert (workspace.quarantine / "7").exists()
    quarantine.trim(workspace, limits, _real() + age + 60)
    assert not (workspace.quarantine / "7").exists()
    assert not astray.is_symlink()


def test_a_clock_that_was_behind_for_a_run_ends_no_grace(
    mirror: Mirror, simulator: Simulator, jump: Callable[[float], None]
) -> None:
    """What it has made of the times before it is as wrong as it was."""
    mirror.configure(delete={"grace": "24h"})
    (old, _) = offer(simulator, "six", "1.0", "2.0")
    mirror.sync()
    old.remove()
    mirror.sync()
    for seconds in (-YEARS, 0, 0, 23 * 3600):
        jump(seconds)
        assert mirror.sync().state == "completed"
        assert mirror.path(old).exists()
    jump(25 * 3600)
    assert mirror.sync().state == "completed"
    assert not mirror.path(old).exists()
