"""The pool of children: every job is answered once, whatever happens to the children."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pypimirror.domain.model import Reason
from pypimirror.system import children
from pypimirror.system.workers import Cancelled, Note, Workers, WorkersError
from tests.echo_worker import Echo, Echoed, FromEcho, Hello

ROOT = Path(__file__).parents[2]


class Pool(Workers[Echo, Echoed]):
    def __init__(
        self,
        processes: int = 2,
        in_flight: int | None = None,
        in_order: bool = False,
        announces: bool = False,
        **hello: object,
    ) -> None:
        self.notes: list[Note] = []
        super().__init__(
            module="tests.echo_worker",
            processes=processes,
            hello=Hello(**hello),
            decoder=msgspec.json.Decoder(FromEcho),
            in_flight=in_flight,
            in_order=in_order,
            announces=announces,
            on_note=self.notes.append,
        )

    @property
    def pids(self) -> list[int]:
        return [child.process.pid for child in self._children]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children are started without the current directory on their path."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_a_child_that_was_started_early_is_the_first_to_work() -> None:
    children.start_early("tests.echo_worker")
    (early,) = children._early.values()
    with Pool(processes=1) as pool:
        assert [result.text for result in pool.run([Echo(1, "a")])] == ["a"]
        assert pool.pids == [early.pid]
    assert not children._early


def test_a_child_that_was_started_early_and_died_is_replaced() -> None:
    children.start_early("tests.echo_worker")
    (early,) = children._early.values()
    early.kill()
    early.wait()
    with Pool(processes=1) as pool:
        assert [result.text for result in pool.run([Echo(1, "a")])] == ["a"]
        assert pool.pids != [early.pid]


def test_a_child_that_was_started_early_for_nothing_ends_with_its_parent() -> None:
    program = textwrap.dedent("""
        from pypimirror.system import children
        children.start_early("tests.echo_worker")
        print(children._early.popitem()[1].pid, flush=True)
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    pid = int(done.stdout)
    deadline = time.monotonic() + 30
    while is_running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_every_job_is_answered_once_with_the_callers_id() -> None:
    with Pool() as pool:
        results = list(pool.run(Echo(number, f"job {number}") for number in range(1000)))
        assert sorted(result.id for result in results) == list(range(1000))
        assert all(result.text == f"job {result.id}" for result in results)
        assert {result.pid for result in results} == set(pool.pids)


def test_ids_need_not_be_unique() -> None:
    with Pool() as pool:
        results = list(pool.run(Echo(7, str(number)) for number in range(50)))
    assert sorted(int(result.text) for result in results) == list(range(50))
    assert {result.id for result in results} == {7}


def test_no_jobs_no_children() -> None:
    with Pool() as pool:
        assert list(pool.run([])) == []
        assert pool.pids == []


def test_few_jobs_few_children() -> None:
    with Pool(processes=8) as pool:
        list(pool.run([Echo(1), Echo(2)]))
        assert len(pool.pids) == 1


def test_a_pool_runs_again() -> None:
    with Pool() as pool:
        first = list(pool.run([Echo(1)]))
        second = list(pool.run([Echo(2)]))
        assert first[0].pid == second[0].pid


def test_jobs_are_taken_lazily() -> None:
    taken = 0

    def jobs() -> Iterator[Echo]:
        nonlocal taken
        for number in itertools.count():
            taken += 1
            yield Echo(number)

    with Pool(processes=2, in_flight=8) as pool:
        for count, _ in enumerate(pool.run(jobs()), 1):
            assert taken - count < 16
            if count == 500:
                break


def test_an_error_of_the_jobs_reaches_the_caller() -> None:
    def jobs() -> Iterator[Echo]:
        yield Echo(1)
        raise ValueError("no more")

    with Pool() as pool, pytest.raises(ValueError, match="no more"):
        list(pool.run(jobs()))


def test_costly_jobs_are_spread(tmp_path: Path) -> None:
    """While one child has a costly job, the other gets the small ones."""
    go = tmp_path / "go"
    jobs = [Echo(number) for number in range(16)]  # as many as start one child
    with Pool(processes=2, in_flight=64) as pool:
        list(pool.run([*jobs, Echo(99)] * 3))
        assert len(pool.pids) == 2
        big = Echo(100, act="wait", path=str(go), weight=1000)
        found = []
        for result in pool.run([big, *(Echo(number) for number in range(40))]):
            found.append(result)
            if len(found) == 40:
                go.touch()
        small, large = found[:-1], found[-1]
        assert large.id == 100
        assert {result.pid for result in small} == set(pool.pids) - {large.pid}


def test_full_pipes_both_ways() -> None:
    """Large jobs and large answers at once: nobody waits for anybody for ever."""
    with Pool(processes=2, in_flight=64) as pool:
        text = "y" * 200_000
        results = pool.run(Echo(number, text, size=300_000) for number in range(100))
        assert sum(len(result.text) for result in results) == 100 * 500_000


def test_a_line_of_fifty_megabytes_is_read_in_good_time() -> None:
    with Pool() as pool:
        started = time.monotonic()
        [result] = pool.run([Echo(1, size=50 << 20)])
        assert len(result.text) == 50 << 20
        assert time.monotonic() - started < 20


def test_a_killed_childs_jobs_are_given_to_another(tmp_path: Path) -> None:
    with Pool(processes=2) as pool:
        deadly = Echo(1000, "survived", act="kill once", path=str(tmp_path / "killed"))
        jobs = [*(Echo(number) for number in range(100)), deadly]
        results = list(pool.run(jobs + [Echo(number) for number in range(101, 200)]))
    assert len(results) == 200
    assert all(result.problem is None for result in results)
    assert any("ended with status -9" in note.message for note in pool.notes)


def test_killed_from_outside_while_at_work(tmp_path: Path) -> None:
    started, go = tmp_path / "started", tmp_path / "go"
    with Pool(processes=1) as pool:
        results: list[Echoed] = []
        jobs = [Echo(1, act="kill once", path=str(started)), Echo(2)]
        results = list(pool.run(jobs))
        pid = pool.pids[0]
        waiter = threading.Thread(
            target=lambda: results.extend(pool.run([Echo(3, act="wait", path=str(go))]))
        )
        waiter.start()
        os.kill(pid, signal.SIGKILL)
        go.touch()
        waiter.join(30)
    assert sorted(result.id for result in results) == [1, 2, 3]
    assert all(result.problem is None for result in results)


def test_a_job_whose_child_dies_twice_is_answered_with_a_problem() -> None:
    with Pool(processes=1) as pool:
        [result] = pool.run([Echo(5, act="kill")])
        assert result.id == 5
        assert result.problem is not None
        assert result.problem.reason is Reason.WORKER
        assert [found.problem for found in pool.run([Echo(6)])] == [None]


def blamed(results: list[Echoed]) -> list[int]:
    return sorted(result.id for result in results if result.problem is not None)


def test_in_order_only_the_job_at_work_is_to_blame() -> None:
    jobs = [Echo(number, act="kill" if number in (0, 17) else "") for number in range(60)]
    with Pool(processes=1, in_flight=40, in_order=True) as pool:
        results = list(pool.run(jobs))
    assert sorted(result.id for result in results) == list(range(60))
    assert blamed(results) == [0, 17]


def test_in_order_any_number_of_deadly_jobs_costs_the_others_nothing() -> None:
    """Not even where each child dies of the first job that it gets."""
    jobs = [Echo(number, act="kill") for number in range(3)] + [Echo(99)]
    with Pool(processes=1, in_flight=40, in_order=True, ready=True) as pool:
        results = list(pool.run(jobs))
    assert blamed(results) == [0, 1, 2]
    assert results[0].id == 99, "those that may be deadly wait for the others"


def test_in_order_also_where_several_threads_give_jobs() -> None:
    results: dict[int, list[Echoed]] = {}

    def run(thread: int) -> None:
        jobs = (Echo(n, act="kill" if n == 100 * thread else "") for n in range(400))
        results[thread] = list(pool.run(jobs))

    with Pool(processes=2, in_flight=16, in_order=True) as pool:
        threads = [threading.Thread(target=run, args=(number,)) for number in (1, 2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert {thread: blamed(found) for thread, found in results.items()} == {
        1: [100],
        2: [200],
        3: [300],
    }


def test_in_order_each_child_has_but_one_costly_job_at_a_time() -> None:
    taken = 0

    def jobs() -> Iterator[Echo]:
        nonlocal taken
        for number in range(40):
            taken += 1
            yield Echo(number, weight=1000)

    with Pool(processes=2, in_flight=16, in_order=True) as pool:
        for count, _ in enumerate(pool.run(jobs()), 1):
            assert taken - count < 2
        assert len(pool.pids) == 2


def test_children_that_cannot_start() -> None:
    with (
        Pool(crash_at_start=True, say="out of order") as pool,
        pytest.raises(WorkersError, match="out of order"),
    ):
        list(pool.run(Echo(number) for number in range(100)))


def test_a_module_that_is_not_there() -> None:
    decoder = msgspec.json.Decoder(FromEcho)
    pool = Workers[Echo, Echoed](
        module="tests.no_such_module", processes=1, hello=Hello(), decoder=decoder
    )
    with pool, pytest.raises(WorkersError, match="no_such_module"):
        list(pool.run(Echo(number) for number in range(100)))


def test_two_threads_at_once() -> None:
    results: dict[int, list[Echoed]] = {}

    def run(thread: int) -> None:
        results[thread] = list(pool.run(Echo(n, f"{thread}") for n in range(2000)))

    with Pool() as pool:
        threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    for number, found in results.items():
        assert sorted(result.id for result in found) == list(range(2000))
        assert {result.text for result in found} == {str(number)}
    assert len(results) == 3


def test_a_caller_that_stops_listening_does_not_hold_up_others() -> None:
    with Pool() as pool:
        forgotten = pool.run(Echo(number) for number in itertools.count())
        next(forgotten)
        assert len(list(pool.run(Echo(number) for number in range(500)))) == 500
        forgotten.close()
        assert len(list(pool.run(Echo(number) for number in range(500)))) == 500


def test_progress_is_told_in_the_callers_thread() -> None:
    told: list[tuple[int, int, int]] = []

    def progress(job: Echo, received: int) -> None:
        told.append((job.id, received, threading.get_ident()))

    with Pool() as pool:
        list(pool.run([Echo(42, act="progress")], on_progress=progress))
        list(pool.run([Echo(42, act="progress")]))
    assert told == [(42, 5, threading.get_ident()), (42, 7, threading.get_ident())]


def test_notes_and_standard_error_reach_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    with Pool() as pool:
        list(pool.run([Echo(1, "a note", act="note"), Echo(2, "a complaint", act="stderr")]))
    messages = [(note.level, note.message) for note in pool.notes]
    assert ("info", "a note") in messages
    assert any(level == "warning" and "a complaint" in text for level, text in messages)
    assert capfd.readouterr() == ("", "")


def test_garbage_from_a_child_is_told_and_skipped() -> None:
    with Pool() as pool:
        assert len(list(pool.run([Echo(1, act="garbage")]))) == 1
    assert any("this is not JSON" in note.message for note in pool.notes)


def test_notes_go_to_logging_by_default(caplog: pytest.LogCaptureFixture) -> None:
    decoder = msgspec.json.Decoder(FromEcho)
    with Workers[Echo, Echoed](
        module="tests.echo_worker", processes=1, hello=Hello(), decoder=decoder
    ) as pool:
        list(pool.run([Echo(1, "a complaint", act="stderr")]))
    assert "a complaint" in caplog.text


def test_cancel_from_another_thread(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    with Pool(processes=1) as pool:
        ended: list[float] = []

        def cancel() -> None:
            wait_for(begun)
            ended.append(time.monotonic())
            pool.cancel()

        threading.Thread(target=cancel).start()
        with pytest.raises(Cancelled):
            list(pool.run([Echo(1, act="hang", path=str(begun))]))
        assert time.monotonic() - ended[0] < 2
        pids = pool.pids
        with pytest.raises(Cancelled):
            list(pool.run([Echo(2)]))
    assert not any(is_alive(pid) for pid in pids)


def test_cancel_ends_every_run(tmp_path: Path) -> None:
    begun = [tmp_path / "0", tmp_path / "1"]
    errors: list[BaseException] = []

    def run(path: Path) -> None:
        try:
            list(pool.run([Echo(1, act="hang", path=str(path))]))
        except Cancelled as error:
            errors.append(error)

    with Pool(processes=1) as pool:
        threads = [threading.Thread(target=run, args=(path,)) for path in begun]
        for thread in threads:
            thread.start()
        while not any(path.exists() for path in begun):
            time.sleep(0.005)
        pool.cancel()
        for thread in threads:
            thread.join(10)
    assert len(errors) == 2


def test_cancel_from_a_signal_handler(tmp_path: Path) -> None:
    """The handler may run at any point of the main thread, also while it holds the pool's lock."""
    with Pool(processes=2, in_flight=8) as pool:
        previous = signal.signal(signal.SIGALRM, lambda *_: pool.cancel())
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(Cancelled):
                list(pool.run(Echo(number) for number in itertools.count()))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)


def test_cancel_while_a_child_reads_nothing(tmp_path: Path) -> None:
    """The parent is stuck writing into a full pipe."""
    begun = tmp_path / "begun"
    with Pool(processes=1, in_flight=100) as pool:

        def cancel() -> None:
            wait_for(begun)
            time.sleep(0.1)  # nothing tells that a write is stuck
            pool.cancel()

        threading.Thread(target=cancel).start()
        jobs = [Echo(0, act="hang", path=str(begun))]
        with pytest.raises(Cancelled):
            list(pool.run(jobs + [Echo(number, "z" * 100_000) for number in range(50)]))


def test_close_ends_hanging_children_soon(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    pool = Pool(processes=1)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            list(pool.run([Echo(1, act="hang", path=str(begun))]))
        except Cancelled as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_for(begun)
    pids = pool.pids
    started = time.monotonic()
    pool.close()
    assert time.monotonic() - started < 3
    thread.join(10)
    assert len(errors) == 1
    assert not any(is_alive(pid) for pid in pids)
    pool.close()


def test_close_lets_idle_children_end_by_themselves() -> None:
    with Pool(processes=1) as pool:
        list(pool.run([Echo(1)]))
        [child] = pool._children
    assert child.process.returncode == 0


def test_interrupt_in_the_callers_block_ends_children() -> None:
    with pytest.raises(KeyboardInterrupt), Pool(processes=1) as pool:
        list(pool.run([Echo(1)]))
        pids = pool.pids
        raise KeyboardInterrupt
    assert not any(is_alive(pid) for pid in pids)


def test_children_end_when_the_parent_is_killed(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import os, sys
        from tests.system.test_workers import Pool, Echo
        pool = Pool(processes=2)
        [result] = pool.run([Echo(1)])
        print(result.pid, flush=True)
        os.kill(os.getpid(), 9)
    """)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    pid = int(done.stdout)
    deadline = time.monotonic() + 5
    while is_alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_terminals_interrupt_does_not_reach_children() -> None:
    with Pool(processes=1) as pool:
        [result] = pool.run([Echo(1)])
        assert os.getpgid(result.pid) != os.getpgid(0)
        os.kill(result.pid, signal.SIGINT)
        assert next(iter(pool.run([Echo(2)]))).pid == result.pid


def test_a_child_that_is_not_up_yet_gets_only_what_the_others_cannot_do() -> None:
    """A round of a few requests waited for the start of a process."""
    with Pool(in_flight=64, announces=True) as pool:
        (first,) = pool.run([Echo(0)])
        assert {each.pid for each in pool.run([Echo(n) for n in range(60)])} == {first.pid}
        assert len(pool.pids) == 2  # the other one never said that it was up
        assert len({each.pid for each in pool.run([Echo(n) for n in range(100)])}) == 2


def test_a_second_child_starts_for_a_few_large_jobs_and_for_many_small_ones() -> None:
    """Four files of half a gigabyte are work for more than one core."""
    for jobs in ([Echo(n, weight=500) for n in range(4)], [Echo(n) for n in range(40)]):
        with Pool(in_flight=64) as pool:
            assert len({answer.pid for answer in pool.run(iter(jobs))}) == 2
    with Pool(in_flight=64) as pool:
        few = [Echo(n) for n in range(10)]
        assert len({answer.pid for answer in pool.run(iter(few))}) == 1
