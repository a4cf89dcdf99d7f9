"""Promise 6 within a run: no project is worked on by two workers; claims die with their holders."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, text, update
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from pypimirror.catalog import claims, lease
from pypimirror.catalog.claims import ClaimLostError, Worker
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.engines import errors, servers
from pypimirror.catalog.holder import Holder, Machine, this_machine, this_process
from pypimirror.catalog.lease import LeaseTimes
from pypimirror.catalog.queries import projects, runs
from pypimirror.catalog.queries.history import pruning
from pypimirror.catalog.queries.work import claims as rows
from pypimirror.catalog.queries.work import requests, workers
from pypimirror.catalog.records import WorkerRecord
from pypimirror.catalog.schema import projects as table
from pypimirror.domain.model import ProjectName
from pypimirror.storage.posix import PosixStorage
from pypimirror.storage.workspace import Workspace
from tests.on_demand.site import until

ELSEWHERE = Holder(Machine("far", "m", "b", "pid:[1]"), 7, 1, "t")


@pytest.fixture
def run_id(catalog: Catalog) -> int:
    """A run in a catalog of seven projects with work, and one without."""
    with catalog.write() as connection:
        projects.ensure(connection, [ProjectName(f"p{n}") for n in range(1, 9)])
        projects.to_look(connection, [ProjectName(f"p{n}") for n in range(1, 8)])
        options: dict[str, Any] = {"command": "sync", "trigger": "t", "config": "c", "now": 1.0}
        return runs.start(connection, arguments=[], **options)[0]


def hold(catalog: Catalog, run_id: int, name: str = "1") -> Any:
    return claims.hold(catalog, run_id, executor="inline", name=name)


@contextmanager
def other_worker(catalog: Catalog, run_id: int, holder: Holder = ELSEWHERE) -> Iterator[Worker]:
    """A worker without a heartbeat, which writes through a catalog of its own."""
    url = catalog.engine.url
    with closing(Catalog.open(url)) as its:
        worker = Worker(its, run_id, holder, lease.PACE)
        worker.begin("shard", "other")
        its.guard, its.fence = worker.check, worker.fence
        yield worker


def expire(catalog: Catalog, worker: int) -> None:
    """Let so much time pass for a worker that others may take its claims."""
    with catalog.write() as connection:
        connection.execute(text(f"UPDATE workers SET expires_at = 0 WHERE id = {worker}"))


def all_workers(catalog: Catalog, run_id: int) -> list[WorkerRecord]:
    with catalog.read() as connection:
        return workers.of_run(connection, run_id)


def finish(catalog: Catalog, *ids: int) -> None:
    """Leave no work for these projects."""
    with catalog.write() as connection:
        connection.execute(update(table).where(table.c.id.in_(ids)).values(has_work=False))


def claimed(catalog: Catalog) -> list[tuple[int, bool]]:
    with catalog.read() as connection:
        found = connection.execute(text("SELECT project_id, done FROM claims ORDER BY 1"))
        return [(row[0], bool(row[1])) for row in found]


def test_every_project_with_work_is_claimed_once(catalog: Catalog, run_id: int) -> None:
    with hold(catalog, run_id, "1") as one, hold(catalog, run_id, "2") as two:
        assert one.number_free(100) == 7
        assert one.number_free(3) == 3
        assert [one.claim(3), two.claim(3), one.claim(3)] == [(1, 2, 3), (4, 5, 6), (7,)]
        assert two.claim(3) == ()
        assert one.number_free(100) == 0


def test_only_named_projects_are_claimed(catalog: Catalog, run_id: int) -> None:
    names = [ProjectName("p8"), ProjectName("p6"), ProjectName("p2"), ProjectName("p4")]
    with hold(catalog, run_id) as worker:
        assert worker.number_free(100, names) == 3
        first, second = worker.claim(2, names), worker.claim(2, names)
        assert sorted((*first, *second)) == [2, 4, 6]
        assert worker.claim(2, names) == ()


def test_more_names_than_a_statement_takes_are_claimed_too(catalog: Catalog, run_id: int) -> None:
    names = [ProjectName(f"p{n}") for n in range(7, 70_000)]
    with hold(catalog, run_id) as worker:
        assert worker.number_free(100, names) == 1
        assert worker.claim(5, names[::-1]) == (7,)


def test_a_project_that_failed_is_not_claimed_again_in_the_same_run(
    catalog: Catalog, run_id: int
) -> None:
    with hold(catalog, run_id) as worker:
        batch = worker.claim(5)
        finish(catalog, 1, 2, 4)
        worker.release(batch, {"files_verified": 3})
        assert claimed(catalog) == [(n, True) for n in range(1, 6)]
        assert worker.claim(5) == (6, 7)
        assert worker.claim(5) == ()
    with hold(catalog, run_id) as worker:  # nor by another one
        assert worker.claim(5) == (6, 7)  # which the first one did not finish


def test_work_that_comes_up_later_is_claimed_though_its_id_is_lower(
    catalog: Catalog, run_id: int
) -> None:
    finish(catalog, 2)
    with hold(catalog, run_id) as worker:
        assert worker.claim(9) == (1, 3, 4, 5, 6, 7)
        with catalog.write() as connection:
            projects.reopen(connection, [ProjectName("p2")])
        assert worker.claim(9) == (2,)


def test_projects_are_freed_if_there_is_more_to_do_for_them(catalog: Catalog, run_id: int) -> None:
    with hold(catalog, run_id) as worker:
        worker.release(worker.claim(9), {})
        assert worker.claim(9) == ()
        with catalog.write() as connection:
            rows.reopen(connection, [2, 3])
        assert worker.claim(9) == (2, 3)


def test_the_history_says_what_a_worker_did(catalog: Catalog, run_id: int) -> None:
    with hold(catalog, run_id, "shard 2") as worker:
        worker.release(worker.claim(4), {"pages_written": 4})
        worker.release(worker.claim(4), {"pages_written": 7})
    (row,) = all_workers(catalog, run_id)
    assert (row.name, row.executor, row.host) == ("shard 2", "inline", this_machine().host)
    assert (row.state, row.batches, row.projects) == ("completed", 2, 7)
    assert (row.counts, row.message) == ('{"pages_written": 7}', None)
    assert row.started_at <= (row.ended_at or 0)


@pytest.mark.parametrize(
    ("error", "state"),
    [(ZeroDivisionError("by 0"), "failed"), (KeyboardInterrupt("by 0"), "cancelled")],
)
def test_a_worker_that_is_ended_by_an_error_leaves_its_claims_to_others(
    catalog: Catalog, run_id: int, error: BaseException, state: str
) -> None:
    with pytest.raises(type(error)), hold(catalog, run_id) as worker:
        worker.claim(3)
        raise error
    (row,) = all_workers(catalog, run_id)
    assert (row.state, row.message) == (state, "by 0")
    assert claimed(catalog) == []
    with catalog.write():
        pass  # nobody holds this process to claims any more


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("INSERT INTO x", ("https://a:secret@b/",), Exception("disk I/O error")),
        OSError("disk I/O error at https://a:secret@b/"),
    ],
)
def test_the_history_of_workers_has_neither_statements_nor_logins(
    catalog: Catalog, run_id: int, error: Exception
) -> None:
    with pytest.raises(type(error)), hold(catalog, run_id):
        raise error
    (row,) = all_workers(catalog, run_id)
    assert (row.message or "").startswith("disk I/O error")
    for word in ("secret", "INSERT", "sqlalche.me", "\n"):
        assert word not in str(row.message)


def test_a_dead_worker_loses_its_claims_at_once(catalog: Catalog, run_id: int) -> None:
    dead = Holder(this_machine(), os.getpid(), 1, "t")  # this number had another process before
    with other_worker(catalog, run_id, dead) as gone, hold(catalog, run_id) as worker:
        assert gone.claim(3) == (1, 2, 3)
        assert worker.claim(9) == (4, 5, 6, 7)
        assert worker.claim(9) == (1, 2, 3)
        lost, _ = all_workers(catalog, run_id)
        assert (lost.state, lost.message) == (
            "lost",
            "its process has died, or sent no heartbeat for too long",
        )


def test_a_worker_elsewhere_loses_its_claims_only_when_they_have_expired(
    catalog: Catalog, run_id: int
) -> None:
    with other_worker(catalog, run_id) as far, hold(catalog, run_id) as worker:
        assert far.claim(6) == (1, 2, 3, 4, 5, 6)
        assert worker.claim(9) == (7,)
        assert worker.claim(9) == ()
        expire(catalog, far.id)
        assert worker.claim(9) == (1, 2, 3, 4, 5, 6)
        with pytest.raises(ClaimLostError):
            far.claim(1)
        with pytest.raises(ClaimLostError):
            far.release((1, 2, 3, 4, 5, 6), {})
        far.give_back()
    assert [row.state for row in all_workers(catalog, run_id)] == ["lost", "completed"]


def test_what_a_lost_worker_has_done_is_not_done_again(catalog: Catalog, run_id: int) -> None:
    with other_worker(catalog, run_id) as far, hold(catalog, run_id) as worker:
        far.release(far.claim(2), {})
        assert far.claim(2) == (3, 4)
        expire(catalog, far.id)
        assert worker.claim(9) == (5, 6, 7)
        assert worker.claim(9) == (3, 4)
        assert worker.claim(9) == ()


def test_a_lost_worker_commits_nothing(catalog: Catalog, run_id: int, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "mirror")
    storage = PosixStorage(workspace)
    workspace.create()
    storage.create()
    with other_worker(catalog, run_id) as far, hold(catalog, run_id) as worker:
        storage.guard = far.check
        far.claim(9)
        expire(catalog, far.id)
        assert worker.claim(9)
        with pytest.raises(ClaimLostError), far._catalog.write() as connection:
            projects.ensure(connection, [ProjectName("late")])
        with pytest.raises(ClaimLostError):
            storage.write([("simple/index.html", [b"page"])])
    with catalog.read() as connection:
        assert not projects.by_name(connection, ["late"])
    assert not (workspace.directory / "simple" / "index.html").exists()


def test_nobody_takes_over_from_a_worker_in_the_middle_of_a_commit(
    catalog: Catalog, run_id: int, database: str
) -> None:
    """On SQLite, who wants to take over waits; on PostgreSQL, it leaves this worker out."""
    found: list[tuple[int, ...]] = []

    def take_over() -> None:
        with hold(catalog, run_id) as worker:
            found.append(worker.claim(9))

    with other_worker(catalog, run_id) as far:
        far.claim(9)
        taker = threading.Thread(target=take_over)
        with far._catalog.write() as connection:
            projects.ensure(connection, [ProjectName("in-time")])
            if database == "sqlite":
                connection.execute(text("UPDATE workers SET expires_at = 0"))
                taker.start()
            else:
                with catalog.aside() as aside:  # its own row is not locked against this
                    aside.execute(text("UPDATE workers SET expires_at = 0"))
                taker.start()
                taker.join()
                assert found == [()]
        taker.join()
        if database == "sqlite":
            assert found == [(1, 2, 3, 4, 5, 6, 7)]
    with catalog.read() as connection:
        assert projects.by_name(connection, ["in-time"])


def _end_a_turn(connection: Connection, worker: Worker, begin: Callable[[], None]) -> None:
    requests.take_turns(connection)
    begin()
    worker.drop(connection, 0, {})


def _end_a_turn_without_a_note(
    connection: Connection, worker: Worker, begin: Callable[[], None]
) -> None:
    def executed(*given: Any) -> None:
        if given[2].startswith("DELETE FROM claims"):
            begin()

    event.listen(connection.alchemy, "after_cursor_execute", executed)
    worker.drop(connection, 0, {})


def _lose(connection: Connection, worker: Worker, begin: Callable[[], None]) -> None:
    lost = workers.lose(connection, [worker.id], [])
    assert lost
    begin()
    rows.drop(connection, lost)


def _end_the_run(connection: Connection, worker: Worker, begin: Callable[[], None]) -> None:
    workers.close(connection, worker.run_id, "its run has ended")
    begin()
    rows.reopen_all(connection)


@pytest.mark.parametrize(
    ("other", "state"),
    [
        (_end_a_turn, "completed"),
        (_end_a_turn_without_a_note, "completed"),
        (_lose, "lost"),
        (_end_the_run, "lost"),
    ],
)
def test_claims_are_given_back_while_another_transaction_frees_them(
    catalog: Catalog,
    run_id: int,
    database: str,
    caplog: pytest.LogCaptureFixture,
    other: Callable[[Connection, Worker, Callable[[], None]], None],
    state: str,
) -> None:
    """A fetcher ends while its keeper ends a turn, or a worker ends while others take over."""
    if database == "sqlite":
        pytest.skip("one writes at a time")
    worker = Worker(catalog, run_id, ELSEWHERE, lease.PACE)
    worker.begin("child", "1")
    assert worker.claim(2)
    ending = threading.Thread(target=worker.give_back)
    with catalog.write() as connection:

        def begin() -> None:
            ending.start()
            waiting = text("SELECT 1 FROM pg_locks WHERE NOT granted")
            until(lambda: connection.execute(waiting).first())

        other(connection, worker, begin)
    ending.join()
    assert not caplog.records
    assert [row.state for row in all_workers(catalog, run_id)] == [state]
    assert claimed(catalog) == []


def test_two_that_claim_at_the_same_time_get_different_projects(
    catalog: Catalog, run_id: int, database: str
) -> None:
    if database == "sqlite":
        pytest.skip("one writes at a time")
    with (
        other_worker(catalog, run_id) as one,
        other_worker(catalog, run_id) as two,
        catalog.aside() as connection,
    ):
        assert rows.take(connection, one.id, 1, 0, 3, None) == [1, 2, 3]
        assert two.claim(3) == (4, 5, 6)  # without waiting for the first


def test_a_heartbeat_keeps_the_claims(
    catalog: Catalog, run_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats = threading.Semaphore(0)
    renew = workers.renew

    def counted(*arguments: Any) -> bool:
        try:
            return renew(*arguments)
        finally:
            beats.release()

    monkeypatch.setattr(workers, "renew", counted)
    monkeypatch.setattr(lease, "PACE", LeaseTimes(heartbeat=0.01, again=0.01))
    told = threading.Event()
    with hold(catalog, run_id) as worker, other_worker(catalog, run_id) as other:
        worker.on_lost = told.set
        worker.claim(9)
        expire(catalog, worker.id)
        while beats.acquire(blocking=False):
            pass  # of before
        assert beats.acquire(timeout=30)
        assert beats.acquire(timeout=30)  # the first may have been under way before
        assert other.claim(9) == ()
        with catalog.write() as connection:
            connection.execute(text("UPDATE workers SET state = 'lost'"))
        assert told.wait(30)
        with pytest.raises(ClaimLostError, match="others have taken them over"):
            worker.check()


def test_a_worker_that_is_late_stops_before_others_may_take_over(
    catalog: Catalog, run_id: int, database: str
) -> None:
    pace = LeaseTimes(lifetime=60, margin=60)
    worker = Worker(catalog, run_id, this_process(this_machine()), pace)
    worker.begin("inline", "1")
    if database == "sqlite":  # where it can look, however late it is
        worker.check()
        with catalog.write() as connection:
            assert workers.lose(connection, [worker.id], []) == [worker.id]
        with pytest.raises(ClaimLostError, match="others have taken them over"):
            worker.check()
        return
    with pytest.raises(ClaimLostError, match="could not be reached for too long"):
        worker.check()


def test_a_claim_whose_answer_is_lost_is_not_lost(
    catalog: Catalog, run_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction was committed, and the connection ended before the answer came."""
    aside = catalog.aside
    answers = [OSError("away"), None]

    @contextmanager
    def losing(patience: float = 0.0) -> Iterator[Any]:
        with aside(patience) as connection:
            yield connection
        if (error := answers.pop(0)) is not None:
            raise SQLAlchemyError(str(error))

    with hold(catalog, run_id) as worker:
        with monkeypatch.context() as patch:
            patch.setattr(errors, "is_passing", lambda _: True)
            patch.setattr(catalog, "aside", losing)
            assert worker.claim(2) == (1, 2)
        assert worker.claim(9) == (3, 4, 5, 6, 7)


def test_a_crashed_run_takes_its_workers_with_it(catalog: Catalog, run_id: int) -> None:
    with other_worker(catalog, run_id) as late:
        late.claim(9)
        with catalog.write() as connection:
            assert runs.close_crashed(connection) == 1
        with pytest.raises(ClaimLostError), late._catalog.write():
            pytest.fail("written")
    (row,) = all_workers(catalog, run_id)
    assert (row.state, claimed(catalog)) == ("lost", [])
    with catalog.write() as connection:
        while pruning.forget_some(connection, run_id, 1):
            pass
    assert all_workers(catalog, run_id) == []


def test_a_transaction_of_a_stopped_worker_does_not_keep_others_from_writing(
    catalog: Catalog, run_id: int, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if database == "sqlite":
        pytest.skip("who is stopped in the middle of a transaction keeps all others waiting")
    monkeypatch.setattr(servers, "_PROMPT", servers._PROMPT.replace("40000", "50"))
    written = False
    with (
        other_worker(catalog, run_id) as stopped,
        pytest.raises(SQLAlchemyError),
        stopped._catalog.write() as connection,
    ):
        projects.ensure(connection, [ProjectName("late")])
        with catalog.write() as other:  # waits until the server has ended the first
            written = not projects.by_name(other, ["late"])
    assert written


@pytest.fixture
def start(
    catalog: Catalog, run_id: int, tmp_path: Path
) -> Iterator[Callable[[], tuple[subprocess.Popen[str], Callable[[str], str]]]]:
    """Starts a worker in a process of its own; returns it, and how to tell it something."""
    workspace = Workspace(tmp_path / "mirror")
    workspace.create()
    PosixStorage(workspace).create()
    url = catalog.engine.url
    started: list[subprocess.Popen[str]] = []

    def one() -> tuple[subprocess.Popen[str], Callable[[str], str]]:
        process = subprocess.Popen(
            (
                *(sys.executable, "-m", "tests.catalog.claimant"),
                *(url, str(workspace.directory), str(run_id)),
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdin is not None and process.stdout is not None
        into, out = process.stdin, process.stdout
        assert out.readline() == "ready\n"

        def tell(line: str) -> str:
            into.write(f"{line}\n")
            into.flush()
            return out.readline().strip()

        return process, tell

    yield one
    for process in started:
        process.kill()
        process.communicate()


def test_processes_that_die_or_hang_lose_their_claims_to_others(
    catalog: Catalog, run_id: int, tmp_path: Path, start: Any
) -> None:
    killed, tell_killed = start()
    stopped, tell_stopped = start()
    assert tell_killed("claim 2") == "1 2"
    assert tell_stopped("claim 2") == "3 4"
    assert tell_stopped("write in-time") == "done"
    with hold(catalog, run_id) as worker:
        assert worker.claim(9) == (5, 6, 7)
        killed.kill()
        killed.wait()
        assert worker.claim(9) == (1, 2)
        stopped.send_signal(signal.SIGSTOP)
        assert worker.claim(9) == ()
        _, row, _ = all_workers(catalog, run_id)
        expire(catalog, row.id)
        assert worker.claim(9) == (3, 4)
        stopped.send_signal(signal.SIGCONT)
        assert tell_stopped("write late") == "ClaimLostError"
        assert tell_stopped("page simple/index.html") == "ClaimLostError"
        assert tell_stopped("claim 9") == "ClaimLostError"
    with catalog.read() as connection:
        assert [row.name for row in projects.by_name(connection, ["late", "in-time"])] == [
            "in-time"
        ]
    assert not (tmp_path / "mirror" / "simple" / "index.html").exists()
    assert [row.state for row in all_workers(catalog, run_id)] == ["lost", "lost", "completed"]
