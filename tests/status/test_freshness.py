"""The word on how fresh a mirror is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pypimirror.status import freshness
from pypimirror.system.clock import DAY

NOW = 1_800_000_000.0


def run(started_at: float) -> Any:
    return SimpleNamespace(started_at=started_at)


@pytest.mark.parametrize(
    ("hours", "word"), [(0, "fresh"), (26, "fresh"), (27, "late"), (72, "late"), (73, "stale")]
)
def test_a_word_says_how_old_the_mirror_is(hours: int, word: str) -> None:
    found = freshness.of(run(NOW - hours * 3600), NOW)
    assert (found["word"], found["age"]) == (word, hours * 3600)


@pytest.mark.parametrize("last", [None, run(NOW + 2 * DAY)], ids=["none", "in the future"])
def test_a_mirror_that_was_never_complete_is_not_called_fresh(last: object) -> None:
    assert freshness.of(last, NOW)["word"] == "never"  # type: ignore[arg-type]
