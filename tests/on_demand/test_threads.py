"""Threads do all jobs, in their order, also if there are more jobs than threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from queue import Queue

from pypimirror.on_demand.once import Threads

PATIENCE = 30


def test_jobs_wait_for_a_thread_in_their_order() -> None:
    done: Queue[int] = Queue()
    hold = threading.Event()
    threads = Threads(1, "test")
    threads.do(lambda: done.put(0 if hold.wait(PATIENCE) else -1))
    for number in range(1, 100):
        threads.do(partial(done.put, number))
    assert done.empty()
    hold.set()
    assert [done.get(timeout=PATIENCE) for _ in range(100)] == list(range(100))


def test_as_many_jobs_are_done_at_a_time_as_there_are_threads() -> None:
    met = threading.Barrier(8)
    done: Queue[int] = Queue()
    threads = Threads(8, "test")
    for _ in range(4):
        for _ in range(8):
            threads.do(lambda: done.put(met.wait(PATIENCE)))
        assert sorted(done.get(timeout=PATIENCE) for _ in range(8)) == list(range(8))


def test_jobs_that_come_while_others_end_are_not_lost() -> None:
    """A thread that has just become idle, and one that takes the next job, may meet."""
    done: Queue[int] = Queue()
    threads = Threads(4, "test")

    def again(left: int) -> None:
        done.put(left)
        if left:
            threads.do(partial(again, left - 1))

    jobs: list[Callable[[], None]] = [partial(again, 500) for _ in range(20)]
    for job in jobs:
        threads.do(job)
    assert sum(done.get(timeout=PATIENCE) for _ in range(20 * 501)) == 20 * 500 * 501 // 2


def test_a_thread_takes_a_job_only_after_it_has_waited_for_it() -> None:
    """Between the moments when it counts as idle and when it waits, it may get a job already."""
    done: Queue[int] = Queue()
    threads = Threads(1, "test")
    lock = Pausing()
    threads._lock = lock  # type: ignore[assignment]
    for number in range(10):
        threads.do(partial(done.put, number))
        if number:
            lock.go_on.release()
        assert done.get(timeout=PATIENCE) == number
        assert lock.paused.acquire(timeout=PATIENCE)
    lock.go_on.release()


class Pausing:
    """A lock after which a thread of the pool stops until the test lets it go on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.paused = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        if threading.current_thread() is not threading.main_thread():
            self.paused.release()
            assert self.go_on.acquire(timeout=PATIENCE)
