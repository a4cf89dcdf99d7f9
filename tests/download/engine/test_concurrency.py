"""How many requests a host gets at once, in virtual time against hosts that are simulated."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

import pytest

from pypimirror.download.engine.concurrency import MODEST, Concurrency

#: Seconds that a host needs for a request, given how many it has at once.
Host = Callable[[int], float]


def knee(best: int, latency: float = 0.05) -> Host:
    """A host that does `best` requests at once; more of them wait."""
    return lambda running: latency * max(1.0, running / best)


def thrashing(best: int, latency: float = 0.05) -> Host:
    """A host that does less the more it is asked beyond `best` requests at once."""
    return lambda running: latency * max(1.0, running / best) ** 2


class Line:
    """A closed loop: each request that ends makes room for the next."""

    def __init__(
        self, host: Host, cap: int = 256, seed: int = 1, *, long_tail: bool = False
    ) -> None:
        self.host = host
        self._long_tail = long_tail  # whether some answers are large, and not all alike
        self.control = Concurrency(cap)
        self.now = 0.0
        self.peak = 0
        self._chance = random.Random(seed)
        self._ends: list[float] = []
        self._integral = 0.0

    def run(self, seconds: float) -> float:
        """Ask without a pause; return the mean number of requests at once."""
        until, started, self._integral = self.now + seconds, self.now, 0.0
        while self.now < until:
            while len(self._ends) < self.control.limit:
                latency = self.host(len(self._ends) + 1) * self._chance.uniform(0.8, 1.2)
                heapq.heappush(self._ends, self.now + latency)
            self.peak = max(self.peak, len(self._ends))
            end = heapq.heappop(self._ends)
            self._integral += (len(self._ends) + 1) * (end - self.now)
            self.now = end
            if self._long_tail:
                size = int(30_000 * self._chance.lognormvariate(0, 2))
                self.control.received(size, self.now, len(self._ends) + 1)
            self.control.done(self.now, len(self._ends) + 1)
        return self._integral / (self.now - started)


@pytest.mark.parametrize(
    ("host", "best"),
    [
        *((knee, best) for best in (16, 40, 100)),
        *((thrashing, best) for best in (4, 7, 23, 64, 150)),
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_it_finds_what_a_host_can_do_within_a_fifth(
    host: Callable[[int], Host], best: int, seed: int
) -> None:
    line = Line(host(best), seed=seed)
    line.run(20)
    assert line.run(20) == pytest.approx(best, rel=0.2)


def test_where_fewer_requests_win_nothing_it_stays_modest() -> None:
    line = Line(knee(4))
    line.run(30)
    assert line.run(30) == pytest.approx(MODEST, rel=0.25)


def test_it_begins_modestly_and_never_exceeds_the_cap() -> None:
    line = Line(knee(1000), cap=50)
    assert line.control.limit == MODEST
    line.run(20)
    assert line.peak == 50
    assert Concurrency(3).limit == 3


def test_it_uses_a_fast_host_soon() -> None:
    """What is not limited by the host must not be held back for long."""
    line = Line(knee(1000), cap=64)
    line.run(1)
    assert line.run(5) > 55


def test_it_follows_a_host_that_gets_slower_and_faster_again() -> None:
    line = Line(knee(64))
    line.run(30)
    line.host = thrashing(12, latency=0.1)
    line.run(60)
    assert line.run(60) == pytest.approx(12, rel=0.25)
    line.host = knee(64)
    line.run(60)
    assert line.run(60) == pytest.approx(64, rel=0.25)


def test_it_eases_off_once_for_all_that_was_under_way() -> None:
    control = Concurrency(64)
    for number in range(MODEST):
        control.failed(number / 100, MODEST - number)
    assert control.limit == MODEST // 2
    control.failed(1.0, 1)
    assert control.limit == MODEST // 4


def test_it_never_stops_asking_altogether() -> None:
    control = Concurrency(64)
    for number in range(50):
        control.failed(float(number), 1)
        control.done(number + 0.5, control.limit)
    assert control.limit == 1


def test_it_recovers_from_a_moment_of_trouble() -> None:
    line = Line(knee(40))
    line.run(30)
    line.control.failed(line.now, line.control.limit)
    assert line.control.limit <= 25
    line.run(60)
    assert line.run(60) == pytest.approx(40, rel=0.25)


def test_too_little_work_teaches_nothing() -> None:
    """With two requests at once, nothing is learnt about how sixteen would do."""
    control = Concurrency(64)
    for number in range(1000):
        control.done(number / 10, 2)
    assert control.limit == MODEST


def test_large_files_count_before_they_have_ended() -> None:
    """Each connection brings the same: more of them are worth it, though no file ever ends."""
    control = Concurrency(64)
    for number in range(2000):
        control.received(control.limit << 12, number / 100, control.limit)
    assert control.limit > 45


def test_large_files_count_by_their_bytes() -> None:
    """A host that sends at one speed, whatever the number of requests, needs few of them."""
    control = Concurrency(64)
    now = 0.0
    for _ in range(3000):
        now += 0.01  # a megabyte each, and a hundred of them a second
        control.received(1 << 20, now, control.limit)
        control.done(now, control.limit)
    assert control.limit <= MODEST


def test_a_cap_that_is_modest_is_used_whole() -> None:
    """Few connections are the configuration's word; nobody is to be spared by fewer still."""
    line = Line(knee(1000), cap=10, long_tail=True)
    assert line.run(60) == pytest.approx(10, rel=0.01)


def test_it_takes_a_few_answers_to_see_that_more_requests_pay() -> None:
    """What is far away pays for each of them, and would take seconds otherwise."""
    line = Line(knee(1000), cap=64)
    line.run(0.5)
    assert line.control.limit == 64


def test_a_cap_that_has_paid_is_not_left_to_see_whether_less_would_do() -> None:
    line = Line(knee(1000), cap=64, long_tail=True)
    line.run(0.5)
    assert line.run(3) > 62


@pytest.mark.parametrize("cap", [64, 256])
def test_a_cap_that_has_paid_is_left_when_the_host_drowns_in_it(cap: int) -> None:
    """Whose answers take twenty seconds by then: nobody waits for hundreds of them."""
    line = Line(knee(1000), cap=cap)
    line.run(1)
    assert line.control.limit == cap
    line.host = thrashing(12)
    line.run(60)
    assert line.run(60) == pytest.approx(12, rel=0.25)
