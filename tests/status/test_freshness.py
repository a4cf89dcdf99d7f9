"""The word on how fresh a mirror is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pypimirror.status import freshness
from pypimirror.system.clock import DAY

NOW = 1_800_000_000.0
HOURLY = "17 * * * *"


def run(started_at: float, trigger: str = "inline") -> Any:
    return SimpleNamespace(started_at=started_at, trigger=trigger)


@pytest.mark.parametrize(
    ("hours", "word"), [(0, "fresh"), (26, "fresh"), (27, "late"), (72, "late"), (73, "stale")]
)
def test_a_word_says_how_old_the_mirror_is(hours: int, word: str) -> None:
    found = freshness.of(run(NOW - hours * 3600), NOW, HOURLY)
    assert (found["word"], found["age"]) == (word, hours * 3600)


@pytest.mark.parametrize(
    ("schedule", "fresh", "late"),
    [
        (HOURLY, 2, 3),
        ("10m", 1 / 3, 1 / 2),
        ("0 3 * * *", 26, 50),
        ("0 8-18 * * 1-5", 64, 126),  # no sync from Friday evening to Monday morning
        ("0 3 L * *", 26, 72),  # only a calendar tells
        ("", 26, 72),
    ],
)
def test_a_known_schedule_says_what_is_late(schedule: str, fresh: float, late: float) -> None:
    """A mirror is late once one sync was missed, and stale once two were."""

    def word(hours: float, trigger: str) -> str:
        return freshness.of(run(NOW - hours * 3600, trigger), NOW, schedule)["word"]

    minute = 1 / 60
    for trigger in ("schedule", "deployment", "retry"):
        assert word(fresh, trigger) == "fresh"
        assert word(fresh + minute, trigger) == "late"
        assert word(late, trigger) == "late"
        assert word(late + minute, trigger) == "stale"
    assert word(26, "inline") == "fresh"  # somebody else decides when it runs


@pytest.mark.parametrize("last", [None, run(NOW + 2 * DAY)], ids=["none", "in the future"])
def test_a_mirror_that_was_never_complete_is_not_called_fresh(last: object) -> None:
    assert freshness.of(last, NOW, HOURLY)["word"] == "never"  # type: ignore[arg-type]
