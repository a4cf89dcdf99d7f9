"""Greenlets that do jobs."""

from __future__ import annotations

import gevent
from gevent.event import Event

from pypimirror.download.engine.loop import Doers
from pypimirror.download.protocol import Job, Probe


def test_a_job_starts_at_once_whatever_others_wait_for_and_greenlets_do_further_jobs() -> None:
    release, by = Event(), {}

    def do(job: Job) -> None:
        by[job.id] = gevent.getcurrent()
        if job.id < 3:
            release.wait()

    doers = Doers(do)
    for number in range(4):
        doers.start(Probe(number, "sim", ""))
    gevent.sleep(0)
    assert list(by) == [0, 1, 2, 3]
    release.set()
    gevent.sleep(0)
    for number in range(4, 8):
        doers.start(Probe(number, "sim", ""))
    gevent.sleep(0)
    assert list(by) == list(range(8))
    assert len(set(by.values())) == 4
