"""A run that finds another one at work waits for it, as long as it was told to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from pypimirror.domain.errors import LockedError
from pypimirror.pipeline import lifecycle, sequence, waiting
from pypimirror.pipeline.context.reporter import LogReporter
from pypimirror.pipeline.preview import plan
from pypimirror.storage import lock
from tests.mirror import Mirror, offer
from tests.simulator import Simulator


class Clock:
    """A time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(waiting, "time", clock)
    return clock


class Door:
    """What is opened: it is held by one run after the other, each for some seconds."""

    def __init__(self, clock: Clock, *holders: tuple[str, float]) -> None:
        self.clock = clock
        self.holders = holders

    @contextmanager
    def open(self) -> Iterator[str]:
        for name, until in self.holders:
            if self.clock.now < until:
                raise LockedError(f"{name} is at work", name)
        yield "open"


def test_it_waits_until_the_other_has_ended_and_says_for_whom(clock: Clock) -> None:
    said: list[str] = []
    door = Door(clock, ("run 1", 40), ("run 2", 60))
    with waiting.patiently(door.open, 3600, said.append) as found:
        assert found == "open"
        assert 60 <= clock.now < 60 + waiting.LONGEST
    assert [line.split(" to end")[0] for line in said] == [
        "waiting for run 1",
        "waiting for run 2",
    ]
    assert said[0] == "waiting for run 1 to end, at most 1h"


def test_it_waits_no_longer_than_it_was_told_to(clock: Clock) -> None:
    door = Door(clock, ("run 1", 1e9))
    with (
        pytest.raises(LockedError, match=r"work\. Gave up after waiting for 30s") as caught,
        waiting.patiently(door.open, 30, lambda _: None),
    ):
        pytest.fail("open")
    assert clock.now == 30
    assert caught.value.holder == "run 1"


def test_without_a_time_it_does_not_wait(clock: Clock) -> None:
    said: list[str] = []
    door = Door(clock, ("run 1", 1))
    with (
        pytest.raises(LockedError, match=r"^run 1 is at work$"),
        waiting.patiently(door.open, 0, said.append),
    ):
        pytest.fail("open")
    assert (said, clock.now) == ([], 0)


def test_an_error_of_the_work_is_not_tried_again(clock: Clock) -> None:
    with (
        pytest.raises(LockedError, match="inner"),
        waiting.patiently(Door(clock).open, 3600, lambda _: None),
    ):
        raise LockedError("inner")


class Releasing(LogReporter):
    """Ends the other run as soon as it is said that somebody waits for it."""

    def __init__(self, other: ExitStack) -> None:
        self.other = other
        self.said: list[str] = []

    def announce(self, message: str) -> None:
        self.said.append(message)
        self.other.close()


@pytest.fixture
def other(mirror: Mirror, simulator: Simulator) -> Iterator[ExitStack]:
    """Another run, which holds the mirror."""
    offer(simulator, "six", "1.0")
    mirror.sync()
    with ExitStack() as stack:
        held = stack.enter_context(lock.hold(mirror.root / ".pypimirror" / "lock"))
        held.name("20260101-031700-0a1b2c")
        yield stack


def test_a_sync_waits_for_the_lock(mirror: Mirror, other: ExitStack) -> None:
    reporter = Releasing(other)
    summary = lifecycle.sync(
        mirror.config, (), sequence.sync, trigger="test", reporter=reporter, wait=60
    )
    assert summary.state == "completed"
    (said,) = reporter.said
    assert said.startswith("waiting for run 20260101-031700-0a1b2c, process ")


def test_a_plan_waits_for_the_lock(mirror: Mirror, other: ExitStack) -> None:
    reporter = Releasing(other)
    plan.plan(mirror.config, (), reporter, wait=60)
    assert len(reporter.said) == 1


def test_the_run_begins_when_the_waiting_is_over(mirror: Mirror, other: ExitStack) -> None:
    """What is due is seen from then on, and not from when somebody began to wait."""
    began = time.time()
    lifecycle.sync(
        mirror.config, (), sequence.sync, trigger="test", reporter=Releasing(other), wait=60
    )
    started = mirror.query("SELECT max(started_at) AS at FROM runs")[0]["at"]
    assert started >= began + waiting.FIRST
