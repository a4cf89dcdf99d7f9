"""The pace and the time left behind a progress bar."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypimirror.cli.display.counts import ProgressCounts


def test_the_pace_stays_when_another_batch_makes_the_bar_longer() -> None:
    counts = ProgressCounts()
    counts.add({"things": 10}, 0)
    counts.add({"done": 10}, 5)
    assert counts.pace(5) == 2
    assert counts.left(5) is None  # nothing is left
    counts.add({"things": 30}, 5)
    assert counts.pace(5) == 2
    assert counts.left(5) == 15


def test_a_first_burst_makes_no_pace() -> None:
    counts = ProgressCounts()
    counts.add({"things": 2, "size": 1 << 30}, 0)
    counts.add({"received": 1 << 20}, 0.01)
    assert counts.pace(0.01) is None
    assert counts.left(0.01) is None
    assert counts.pace(2) == 1 << 19


def test_the_pace_is_that_of_the_last_minute() -> None:
    counts = ProgressCounts()
    counts.add({"things": 100_000}, 0)
    for second in range(1, 101):
        counts.add({"done": 1000 if second <= 20 else 10}, second)
    assert counts.pace(100) == pytest.approx(10, rel=0.02)
    assert counts.left(100) == pytest.approx((100_000 - 20_800) / 10, rel=0.02)


def test_bytes_decide_where_they_are_known() -> None:
    counts = ProgressCounts()
    counts.add({"things": 4, "size": 1000}, 0)
    counts.add({"done": 1, "received": 100}, 10)
    assert counts.pace(10) == 10
    assert counts.left(10) == 90


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 10**9)), max_size=50))
def test_no_time_is_negative(steps: list[tuple[float, int]]) -> None:
    counts, now = ProgressCounts(), 0.0
    for passed, number in steps:
        now += passed
        counts.add({"things": number, "done": number // 2}, now)
        assert (counts.pace(now) or 0) >= 0
        assert (counts.left(now) or 0) >= 0
