"""Requests that wait for a turn at their host, against a real server."""

from __future__ import annotations

import gevent
import pytest

from pypimirror.domain.model import Reason
from pypimirror.download.engine.concurrency import MODEST
from pypimirror.download.engine.host_queue import HostQueue
from pypimirror.download.failure import FetchError
from tests import simulator as faults
from tests.download.conftest import BODY, MakeLab
from tests.simulator import Simulator


def test_a_host_gets_a_modest_number_of_requests_to_begin_with(
    make_lab: MakeLab, simulator: Simulator
) -> None:
    files = [simulator.add_file("a", f"a-{n}.tar.gz", BODY) for n in range(4 * MODEST)]
    hold = simulator.hold("/packages/*")
    lab = make_lab(connections=64)
    jobs = [lab.job(file, name=str(n)) for n, file in enumerate(files)]
    asking = [gevent.spawn(lab.fetcher.do, job) for job in jobs]
    while simulator.active < MODEST:
        gevent.sleep(0.001)
    for _ in range(20):  # whoever could ask now, would
        gevent.sleep(0.001)
    assert simulator.active == MODEST
    hold.release()
    gevent.joinall(asking, raise_error=True)
    assert [task.value.problem for task in asking] == [None] * len(files)


def test_a_host_that_asks_for_less_gets_less(make_lab: MakeLab, simulator: Simulator) -> None:
    files = [simulator.add_file("a", f"a-{n}.tar.gz", BODY) for n in range(40)]
    simulator.fault("/packages/*", faults.Status(429), nth=1)
    lab = make_lab(connections=64, tries=5)
    results = lab.together([lab.job(file, name=str(n)) for n, file in enumerate(files)])
    assert [result.problem for result in results] == [None] * 40
    assert lab.fetcher.queue("127.0.0.1").limit < MODEST
    assert lab.fetcher.queue("other.test").limit == MODEST


def test_a_missing_file_is_no_reason_to_ask_for_less(
    make_lab: MakeLab, simulator: Simulator
) -> None:
    lab = make_lab(connections=64)
    lab.together([lab.job(f"/packages/nothing-{n}", name=str(n)) for n in range(10)])
    assert lab.fetcher.queue("127.0.0.1").limit == MODEST
    assert len(simulator.requests) == 10


def test_a_host_that_is_gone_is_not_asked_one_by_one() -> None:
    queue = HostQueue(64)
    for _ in range(20):
        with queue.turn():
            queue.went_wrong(FetchError(Reason.TIMEOUT, "nothing"))
    assert queue.limit == MODEST


def test_a_host_that_answers_some_and_drops_others_gets_less() -> None:
    queue = HostQueue(64)
    for _ in range(10):
        with queue.turn():
            queue.went_well()
        with queue.turn():
            queue.went_wrong(FetchError(Reason.CONNECTION, "reset"))
    assert queue.limit < MODEST // 2


def test_turns_are_given_in_the_order_of_asking_and_to_no_more_than_may_pass() -> None:
    queue = HostQueue(2)
    passed: list[int] = []
    inside = 0

    def ask(number: int) -> None:
        nonlocal inside
        with queue.turn():
            inside += 1
            assert inside <= 2
            passed.append(number)
            gevent.sleep(0)
            inside -= 1

    gevent.joinall([gevent.spawn(ask, number) for number in range(20)], raise_error=True)
    assert passed == list(range(20))


def test_a_turn_is_given_back_whatever_happens() -> None:
    queue = HostQueue(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), queue.turn():
            raise ZeroDivisionError
    queue.went_wrong(FetchError(Reason.TIMEOUT, "slow"))
    with queue.turn():
        pass
