"""Backoff, Retry-After, and hosts that want to be left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypimirror.domain.model import Reason
from pypimirror.download.engine import retry
from pypimirror.download.engine.retry import Cooldowns, backoff_delay
from tests import simulator as faults
from tests.download.conftest import BODY, MakeLab, good, problem
from tests.simulator import IndexFile, Simulator


@given(st.integers(1, 100), st.floats(0.001, 10), st.floats(0.001, 100), st.floats(0, 1))
def test_backoff_is_bounded(failures: int, base: float, longest: float, chance: float) -> None:
    delay = backoff_delay(failures, base, longest, lambda: chance)
    assert 0 <= delay <= min(longest, base * 2 ** (failures - 1))


def test_backoff_doubles() -> None:
    assert [backoff_delay(n, 0.5, 3.0, lambda: 1.0) for n in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, 3.0]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_cooldown() -> None:
    clock = Clock()
    cooldowns = Cooldowns(0.5, 10.0, clock)
    assert cooldowns.remaining("a") == 0
    cooldowns.throttle("a", 1.5, clock.now)
    assert (cooldowns.remaining("a"), cooldowns.remaining("b")) == (1.5, 0.0)
    cooldowns.throttle("a", 9.0, clock.now)  # many jobs hear of one overload
    assert cooldowns.remaining("a") == 1.5


def test_one_answer_silences_a_host_for_a_moment_and_further_ones_for_longer() -> None:
    clock = Clock()
    cooldowns = Cooldowns(0.5, 60.0, clock)
    seen = []
    for _ in range(7):
        cooldowns.throttle("a", 3600.0, clock.now)
        seen.append(cooldowns.remaining("a"))
        clock.now += 100
    assert seen == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert 0 < cooldowns.closed("a") <= 3600, "it has wanted that after each of them"
    assert cooldowns.closed("b") == 0
    clock.now += 3600
    assert cooldowns.closed("a") == 0


def test_a_host_is_not_closed_for_a_rest_that_a_run_waits_for() -> None:
    clock = Clock()
    cooldowns = Cooldowns(0.5, 60.0, clock)
    for _ in range(9):
        cooldowns.throttle("a", 60.0, clock.now)
        clock.now += 60
    assert cooldowns.closed("a") == 0


@pytest.mark.parametrize("retry_after", [3600.0, None])
def test_a_host_that_answers_others_meanwhile_goes_on(retry_after: float | None) -> None:
    clock = Clock()
    cooldowns = Cooldowns(0.5, 60.0, clock)
    asked = clock.now
    clock.now += 1
    cooldowns.relieve("a")
    clock.now += 1
    cooldowns.throttle("a", retry_after, asked)
    assert cooldowns.remaining("a") == 0
    cooldowns.throttle("a", retry_after, clock.now)
    assert cooldowns.remaining("a") > 0, "nothing was answered since"


def test_resting_for_nothing_again_and_again_costs_less_each_time() -> None:
    """As one by one a resource asks for a rest and the next does not."""
    clock = Clock()
    cooldowns = Cooldowns(0.5, 60.0, clock)
    rests = 0.0
    for _ in range(100):
        clock.now += 1
        cooldowns.throttle("a", 3600.0, clock.now)
        rests += cooldowns.remaining("a")
        clock.now += 10
        cooldowns.relieve("a")
    assert rests < 4.1


def test_cooldown_without_a_time_doubles_until_relieved() -> None:
    clock = Clock()
    cooldowns = Cooldowns(0.5, 10.0, clock)
    seen = []
    for _ in range(6):
        cooldowns.throttle("a", None, clock.now)
        cooldowns.throttle("a", None, clock.now)  # many jobs hear of one overload
        seen.append(cooldowns.remaining("a"))
        clock.now += 20
    assert seen == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0]
    cooldowns.relieve("a")
    clock.now += 1
    cooldowns.throttle("a", None, clock.now)
    assert cooldowns.remaining("a") == 0.5


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_kept(
    make_lab: MakeLab, simulator: Simulator, six: IndexFile, status: int, form: str
) -> None:
    value: int | str = 1
    if form == "date":  # whole seconds only, so that two of them are one at least
        value = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    simulator.fault(six, faults.Status(status, retry_after=value), nth=1)
    lab = make_lab(max_backoff=5.0)
    good(lab.file(six), lab.path())
    first, second = simulator.requests
    assert second.started - first.ended >= 0.9


@pytest.mark.parametrize("status", [429, 503])
def test_a_rest_that_no_run_waits_for_leaves_the_resource_to_a_later_run(
    make_lab: MakeLab, simulator: Simulator, six: IndexFile, status: int
) -> None:
    simulator.fault(six, faults.Status(status, retry_after=86400))
    result = make_lab(tries=5).file(six)
    assert result.problem is not None
    assert result.problem.reason is Reason.HTTP_STATUS
    assert "86400 s" in result.problem.message
    assert simulator.count(six.path) == 1


def test_resources_that_want_an_hour_cost_others_of_their_host_no_more_than_moments(
    make_lab: MakeLab, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is asked first, several in a row, and one at last; with one place and with many."""
    files = [simulator.add_file("six", f"six-{n}.tar.gz", BODY) for n in range(30)]
    bad = {0, 10, 11, 12, 13, 29}
    for n in bad:
        simulator.fault(files[n], faults.Status(503, retry_after=3600))
    monkeypatch.setattr(retry, "_FIRST", 0.02)
    rests: list[float] = []
    throttle = Cooldowns.throttle

    def noted(self: Cooldowns, *said: Any) -> None:
        throttle(self, *said)
        rests.append(self.remaining("127.0.0.1"))

    monkeypatch.setattr(Cooldowns, "throttle", noted)
    for connections in (1, 8):
        lab = make_lab(connections=connections, max_backoff=60.0)
        jobs = [lab.job(file, name=f"{connections} {n}") for n, file in enumerate(files)]
        results = lab.together(jobs)
        assert {n for n, result in enumerate(results) if result.problem} == bad
    assert len(rests) == 2 * len(bad)
    assert max(rests) < 1


def test_a_host_that_wants_an_hour_of_everybody_is_left_soon(
    make_lab: MakeLab, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [simulator.add_file("six", f"six-{n}.tar.gz", BODY) for n in range(30)]
    simulator.fault("/packages/*", faults.Status(429, retry_after=3600))
    monkeypatch.setattr(retry, "_FIRST", 0.01)
    lab = make_lab(connections=2, max_backoff=0.1)
    results = lab.together([lab.job(file, name=str(n)) for n, file in enumerate(files)])
    assert all(result.problem for result in results)
    assert len(simulator.requests) < 20


@pytest.mark.parametrize("status", [429, 503])
def test_throttling_without_retry_after(
    make_lab: MakeLab, simulator: Simulator, six: IndexFile, status: int
) -> None:
    simulator.fault(six, faults.Status(status), nth=1, times=3)
    lab = make_lab(tries=5)
    assert lab.file(six).attempts == 4
    problem_free = lab.file(six)
    good(problem_free, lab.path())


def test_throttling_quiets_all_jobs_of_the_host(
    make_lab: MakeLab, simulator: Simulator, six: IndexFile
) -> None:
    other = simulator.add_file("six", "six-2.0.tar.gz", BODY)
    simulator.fault(six, faults.Status(429, retry_after=1), nth=1)
    lab = make_lab(max_backoff=5.0)
    first = gevent.spawn(lab.fetcher.do, lab.job(six))
    while not lab.fetcher._cooldowns.remaining("127.0.0.1"):
        gevent.sleep(0.01)
    good(lab.file(other, name="other"), lab.path("other"))
    first.join()
    throttled, *later = simulator.requests
    assert all(request.started - throttled.ended >= 0.9 for request in later)


def test_throttling_holds_back_jobs_that_wait_for_a_place(
    make_lab: MakeLab, simulator: Simulator, six: IndexFile
) -> None:
    """Only the one that was under way asks a host that has said no."""
    files = [simulator.add_file("six", f"six-{n}.tar.gz", BODY) for n in range(20)]
    simulator.fault("/packages/*", faults.Status(429, retry_after=1), nth=1)
    lab = make_lab(connections=1, max_backoff=5.0)
    results = lab.together([lab.job(file, name=str(n)) for n, file in enumerate(files)])
    assert [result.problem for result in results] == [None] * 20
    throttled, *later = simulator.requests
    assert len(later) == 20
    assert all(request.started - throttled.ended >= 0.9 for request in later)


def test_throttling_of_one_host_leaves_others_alone(
    make_lab: MakeLab, simulator: Simulator, six: IndexFile
) -> None:
    """Even with a single place: a job that waits holds none."""
    from pypimirror.download.protocol import Remote

    with Simulator() as other:
        file = other.add_file("six", "six-1.0.tar.gz", BODY)
        url = f"http://localhost:{other.server.port}"
        simulator.fault(six, faults.Status(429, retry_after=60))
        lab = make_lab(
            connections=1,
            max_backoff=60.0,
            remotes=(Remote("sim", simulator.url, ("localhost",)),),
        )
        waiting = gevent.spawn(lab.fetcher.do, lab.job(six))
        while not lab.fetcher._cooldowns.remaining("127.0.0.1"):
            gevent.sleep(0.01)
        good(lab.file(url + file.path, size=len(BODY)), lab.path())
        waiting.kill()


def test_a_job_that_backs_off_holds_no_place(
    make_lab: MakeLab, simulator: Simulator, six: IndexFile
) -> None:
    other = simulator.add_file("six", "six-2.0.tar.gz", BODY)
    simulator.fault(six, faults.Status(500))
    lab = make_lab(connections=1, tries=10, backoff=50.0, max_backoff=100.0)
    waiting = gevent.spawn(lab.fetcher.do, lab.job(six))
    while not simulator.requests:
        gevent.sleep(0.01)
    good(lab.file(other), lab.path())
    waiting.kill()


def test_tries_is_the_number_of_attempts(
    make_lab: MakeLab, simulator: Simulator, six: IndexFile
) -> None:
    simulator.fault(six, faults.Status(500))
    lab = make_lab(tries=4)
    assert problem(lab.file(six), Reason.HTTP_STATUS).attempts == 4
    assert len(simulator.requests) == 4
