"""When a listing is believed."""

from __future__ import annotations

import pytest

from pypimirror.domain.model import File, ProjectPage
from pypimirror.on_demand import listing as module
from pypimirror.on_demand.listing import Listing, RecentListings

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("checked_at", "until", "selection", "is_fresh"),
    [
        (NOW - 599, None, "s", True),
        (NOW - 600, None, "s", False),
        (NOW + 1, None, "s", False),  # the clock was ahead, or was set back
        (NOW, NOW, "s", False),
        (NOW, NOW + 1, "s", True),
        (NOW, None, "other", False),
    ],
    ids=["young", "old", "of the future", "over", "not over yet", "of another policy"],
)
def test_a_listing_is_fresh_for_a_while(
    checked_at: float, until: float | None, selection: str, is_fresh: bool
) -> None:
    page = ProjectPage("six", "six")
    listing = Listing("upstream", "", selection, page, checked_at, until=until)
    assert listing.is_fresh(NOW, 600, "s") is is_fresh


def test_the_listings_in_memory_are_bounded_and_the_last_used_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_FILES", 100)
    recent = RecentListings()

    def note(project: str, files: int) -> None:
        page = ProjectPage(project, project, files=(File("f", "u"),) * files)
        recent.note(project, Listing("upstream", "", "s", page, NOW))

    note("used", 40)
    note("old", 40)
    for _ in range(3):
        note("old", 40)  # it counts once
    assert recent.get("used") is not None
    note("new", 40)
    assert [name for name in ("used", "old", "new") if recent.get(name)] == ["used", "new"]
    for number in range(200):  # pages without files take memory, too
        note(f"empty{number}", 0)
    assert sum(recent.get(f"empty{number}") is not None for number in range(200)) == 100
    note("huge", 1000)
    assert recent.get("huge") is None
