"""When the space runs out, and which days stand for a month."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pypimirror.catalog.records import DayRecord
from pypimirror.status import trends
from pypimirror.system.clock import DAY

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()
TODAY = int(NOW // DAY)
GIB = 1 << 30


def day(number: int, free: int | None = None, **more: int) -> DayRecord:
    said = {"projects": 1, "files": 1, "bytes": 1, "backlog": 0, "runs": 1, "undone": 0, **more}
    return DayRecord(
        day=number, free=free, oldest=None, seconds=1.0, downloaded=0, failures="{}", **said
    )


def test_the_day_on_which_the_space_runs_out_follows_from_the_pace() -> None:
    rows = [day(TODAY - n, free=(100 + n) * GIB) for n in range(10, 0, -1)]
    found = trends.space(rows, 100 * GIB, 10 * GIB, NOW)
    assert found is not None
    passed = 9.5  # days since the end of the first
    assert found["per_day"] == pytest.approx(10 * GIB / passed, abs=1)
    left = 90 / (10 / passed)  # above the reserve, at this pace
    assert found["full_at"] == pytest.approx(NOW + left * DAY)


@pytest.mark.parametrize(
    ("before", "now"),
    [(100, 100), (90, 100), (100 + 1 / GIB, 100)],
    ids=["the same", "more than before", "hardly less"],
)
def test_space_that_does_not_shrink_never_runs_out(before: float, now: int) -> None:
    found = trends.space([day(TODAY - 5, free=int(before * GIB))], now * GIB, 0, NOW)
    assert found is not None
    assert found["full_at"] is None
    assert found["per_day"] is not None


def test_space_below_the_reserve_has_run_out_now() -> None:
    found = trends.space([day(TODAY - 5, free=50 * GIB)], 5 * GIB, 10 * GIB, NOW)
    assert found is not None
    assert found["full_at"] == NOW


@pytest.mark.parametrize("rows", [[], [day(TODAY, free=1)], [day(TODAY - 1, free=1)]])
def test_no_pace_is_told_from_less_than_a_day(rows: list[DayRecord]) -> None:
    found = trends.space(rows, 5 * GIB, 0, NOW)
    assert found is not None
    assert (found["per_day"], found["full_at"]) == (None, None)


def test_nothing_is_told_of_space_that_nobody_knows() -> None:
    assert trends.space([day(TODAY - 5)], None, 0, NOW) is None


def test_the_last_day_of_a_month_stands_for_it() -> None:
    rows = [day(TODAY - n, files=1000 - n) for n in range(730, -1, -1) if n != 61]
    months = trends.months(rows)
    assert len(months) == trends.MONTHS
    assert [each["day"] for each in months[-3:]] == ["2026-09-29", "2026-10-31", "2026-11-30"]
    assert months[-1]["files"] == 1000
