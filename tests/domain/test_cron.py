"""The longest time between two runs, of the expressions that Prefect accepts."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from pypimirror.domain import cron

DAY = 24.0


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("* * * * *", 1 / 60),
        ("*/20 * * * *", 1 / 3),
        ("50/5 * * * *", 55 / 60),
        ("17 * * * *", 1),
        ("0 1,5,20 * * *", 15),
        ("30 22-23 * * *", 23),
        ("0 3 * * mon-fri", 3 * DAY),
        ("47 3 * * 0", 7 * DAY),
        ("47 3 * * 7", 7 * DAY),
        ("0 0 1 * *", 31 * DAY),
        ("0 0 31 * *", 61 * DAY),
        ("0 0 1 * sun", 7 * DAY),  # of day and weekday, one is enough
        ("0 0 1 jan,JUL *", 184 * DAY),
        ("0 0 L * *", None),
        ("0 0 * * mon#1", None),
        ("0 0 * * l5", None),
        ("0 0 30 2 *", None),  # never
    ],
)
def test_the_longest_gap(text: str, hours: float | None) -> None:
    cron.check(text)
    found = cron.longest_gap(text)
    assert found == (None if hours is None else pytest.approx(3600 * hours))


@pytest.mark.parametrize("text", ["7,31 5-7 */3 * *", "0 12 1,15 2-11 *", "5 4 13 * fri"])
def test_it_is_the_one_of_the_library_that_prefect_uses(text: str) -> None:
    cronsim = pytest.importorskip("cronsim")
    runs = cronsim.CronSim(text, datetime(2023, 1, 1, tzinfo=UTC))
    times = [moment for moment, _ in zip(runs, range(5000), strict=False)]
    longest = max(later - earlier for earlier, later in pairwise(times) if later.year < 2028)
    assert cron.longest_gap(text) == longest.total_seconds()
