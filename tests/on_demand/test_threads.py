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
