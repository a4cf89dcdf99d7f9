"""Promise 6 on any number of machines: one run at a time, by a lease that a heartbeat keeps."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from pypimirror.catalog import lease
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.holder import Holder, Machine, this_machine, this_process
from pypimirror.catalog.lease import Lease, LeaseLostError, LeaseTimes
from pypimirror.catalog.marks import MIRROR
from pypimirror.catalog.queries import leases, marks
from pypimirror.domain.errors import LockedError
from pypimirror.pipeline import ownership
from pypimirror.storage.posix import PosixStorage
from pypimirror.storage.workspace import Workspace
from tests.postgresql import Server

ELSEWHERE = Holder(Machine("far", "m", "b", "pid:[1]"), 7, 1, "t")
DEAD = Holder(this_machine(), os.getpid(), 1, "t")  # this number had another process before

#: Beats as fast as it can.
FAST = LeaseTimes(heartbeat=0.01, again=0.01)


def hold(catalog: Catalog) -> Any:
    return lease.hold(catalog, lambda connection: None)


def held_by(catalog: Catalog) -> Holder | None:
    with catalog.write() as connection:
        held = leases.find(connection, change=False)
    return held.holder if held else None


def give(catalog: Catalog, holder: Holder, seconds: float) -> None:
    with catalog.write() as connection:
        leases.put(connection, holder, seconds)


@pytest.fixture
def beats(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Semaphore]:
    """Released with each attempt to renew a lease that has come to its end."""
    done = threading.Semaphore(0)
    renew = leases.renew

    def counted(*arguments: Any) -> bool:
        try:
            return renew(*arguments)
        finally:
            done.release()

    monkeypatch.setattr(lease, "PACE", FAST)
    monkeypatch.setattr(leases, "renew", counted)
    return done


def test_a_second_holder_is_refused_at_once_and_told_who_holds(catalog: Catalog) -> None:
    with (
        hold(catalog),
        pytest.raises(LockedError, match=f"process {os.getpid()} on"),
        hold(catalog),
    ):
        pytest.fail("held twice")
    with hold(catalog):
        assert held_by(catalog).pid == os.getpid()  # type: ignore[union-attr]
    assert held_by(catalog) is None


def test_the_lease_is_given_back_by_an_error_too(catalog: Catalog) -> None:
    with pytest.raises(ZeroDivisionError), hold(catalog):
        raise ZeroDivisionError
    assert held_by(catalog) is None


def test_an_objection_leaves_the_lease_with_nobody(catalog: Catalog) -> None:
    def object_to(connection: Connection) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), lease.hold(catalog, object_to):
        pytest.fail("taken")
    assert held_by(catalog) is None


def test_a_dead_holder_is_not_waited_for(catalog: Catalog) -> None:
    give(catalog, DEAD, 60)
    with hold(catalog):
        assert held_by(catalog) != DEAD


def test_nobody_waits_for_a_holders_long_transaction_to_be_refused(url: str) -> None:
    with (
        closing(Catalog.open(url)) as catalog,
        closing(Catalog.open(url)) as other,
        hold(catalog),
        catalog.write(),
        pytest.raises(LockedError),
    ):
        hold(other).__enter__()


def test_a_holder_elsewhere_is_waited_for_until_its_lease_has_expired(catalog: Catalog) -> None:
    give(catalog, ELSEWHERE, 30)
    with pytest.raises(LockedError, match=r"process 7 on far.*try again in (30|29) s"):
        hold(catalog).__enter__()
    assert held_by(catalog) == ELSEWHERE
    give(catalog, ELSEWHERE, -1)
    with hold(catalog):
        assert held_by(catalog) != ELSEWHERE


def test_a_holder_that_lives_is_not_robbed_though_nothing_is_heard_of_it(catalog: Catalog) -> None:
    """It may have been stopped, and go on."""
    parent = os.getppid()
    started = int(Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[19])
    give(catalog, Holder(this_machine(), parent, started, "t"), -1)
    with pytest.raises(LockedError, match="its process exists"):
        hold(catalog).__enter__()


def test_a_process_that_could_not_give_it_back_is_not_in_its_own_way(catalog: Catalog) -> None:
    give(catalog, this_process(this_machine()), 60)
    with hold(catalog):
        pass


def test_the_databases_clock_decides_and_not_the_machines(
    catalog: Catalog, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(catalog, ELSEWHERE, 60)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    if database == "sqlite":  # which has no clock of its own, and one machine
        with hold(catalog):
            return
    with pytest.raises(LockedError):
        hold(catalog).__enter__()


def test_a_heartbeat_keeps_the_lease(catalog: Catalog, beats: threading.Semaphore) -> None:
    with hold(catalog):
        with catalog.write() as connection:
            connection.execute(text("UPDATE leases SET expires_at = 0"))
        assert beats.acquire(timeout=30)
        assert beats.acquire(timeout=30)  # the first may have been under way before
        with catalog.write() as connection:
            assert leases.find(connection, change=False).left > 30  # type: ignore[union-attr]


def test_what_is_given_back_while_a_heartbeat_waits_for_the_catalog_is_not_lost(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at the end of a dry run that took longer than the time between two heartbeats."""
    kept = Lease(catalog, this_process(this_machine()), FAST)
    kept.take(lambda connection: None)
    aside = catalog.aside

    def after_the_end() -> Any:
        monkeypatch.setattr(catalog, "aside", aside)
        kept.give_back()
        return aside()

    monkeypatch.setattr(catalog, "aside", after_the_end)
    kept.keep()
    assert held_by(catalog) is None
    assert kept.lost is None


def test_who_was_robbed_hears_it_and_writes_no_more(
    catalog: Catalog, beats: threading.Semaphore, tmp_path: Path
) -> None:
    told = threading.Event()
    workspace = Workspace(tmp_path / "mirror")
    storage = PosixStorage(workspace)
    workspace.create()
    storage.create()
    with ownership.hold(catalog, workspace, storage, claim=True) as held:
        held.on_lost = told.set
        give(catalog, ELSEWHERE, 60)
        assert told.wait(30)
        with pytest.raises(LeaseLostError, match="another run has taken the mirror over"):
            held.check()
        with pytest.raises(LeaseLostError), catalog.write():
            pytest.fail("written")
        with pytest.raises(LeaseLostError):
            storage.write([("simple/index.html", [b"page"])])
        assert not (workspace.directory / "simple" / "index.html").exists()
    assert held_by(catalog) == ELSEWHERE  # which is not ours to give back


def test_a_transaction_that_has_begun_before_the_loss_is_not_committed(catalog: Catalog) -> None:
    held = Lease(catalog, this_process(this_machine()), FAST)
    held.take(lambda connection: None)
    catalog.guard = held.check
    with pytest.raises(LeaseLostError), catalog.write() as connection:
        marks.write(connection, MIRROR, "set")
        held._lose("a test says so")
    with catalog.read() as connection:
        assert marks.read(connection, MIRROR) is None


def test_a_holder_stops_itself_before_anybody_may_take_over(
    catalog: Catalog, database: str
) -> None:
    """It does so even when its heartbeat is stuck: whoever writes looks at the clock."""
    pace = LeaseTimes(lifetime=60, margin=60)
    held = Lease(catalog, this_process(this_machine()), pace)
    held.take(lambda connection: None)
    if database == "sqlite":  # who wants it waits for the writer: a late heartbeat is no loss
        held.check()
        return
    with pytest.raises(LeaseLostError, match="could not be reached for too long"):
        held.check()


def test_a_long_transaction_does_not_keep_the_heartbeat_waiting(
    catalog: Catalog, database: str, beats: threading.Semaphore
) -> None:
    if database == "sqlite":
        pytest.skip("its heartbeat waits, and loses nothing by it")
    with hold(catalog), catalog.write():
        assert beats.acquire(timeout=30)
        assert beats.acquire(timeout=30)


def test_a_database_that_is_away_for_a_while_costs_no_lease(
    own_server: Server, beats: threading.Semaphore, caplog: pytest.LogCaptureFixture
) -> None:
    catalog = Catalog.open(own_server.url("postgres"))
    failed = threading.Event()

    class Watch(lease.logging.Handler):
        def emit(self, record: Any) -> None:
            if "could not be renewed" in record.getMessage():
                failed.set()

    watch = Watch()
    lease.log.addHandler(watch)
    try:
        with hold(catalog) as held:
            own_server.stop()
            assert failed.wait(30)
            own_server.start()
            while beats.acquire(blocking=False):
                pass
            assert beats.acquire(timeout=30)
            held.check()
            assert held_by(catalog) == held._me
    finally:
        lease.log.removeHandler(watch)
        catalog.close()


def test_a_database_that_stays_away_ends_the_lease(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # At the end of its patience from the first failure on.
    monkeypatch.setattr(
        lease, "PACE", LeaseTimes(lifetime=60, heartbeat=0.01, again=0.01, margin=60)
    )
    catalog = Catalog.open(own_server.url("postgres"))
    told = threading.Event()
    with hold(catalog) as held:
        held.on_lost = told.set
        own_server.stop()
        assert told.wait(30)
        with pytest.raises(LeaseLostError):
            held.check()
    catalog.close()
