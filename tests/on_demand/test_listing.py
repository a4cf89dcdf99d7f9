"""When a listing is believed."""

from __future__ import annotations

import pytest

from pypimirror.domain.model import File, ProjectPage
from pypimirror.on_demand import listing as module
from pypimirror.on_demand.listing import Listing, RecentListings

NOW = 1_800_000_000.0


def listing(project: str, files: int, checked_at: float) -> Listing:
    page = ProjectPage(project, project, files=(File("f", "u"),) * files)
    return Listing("upstream", "", "s", page, checked_at)


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
        recent.note(project, listing(project, files, NOW))

    note("used", 24)
    note("old", 24)
    for _ in range(3):
        note("second", 24)  # it counts once
    note("third", 24)
    assert recent.get("used") is not None
    note("new", 24)
    found = [name for name in ("used", "old", "second", "third", "new") if recent.get(name)]
    assert found == ["used", "second", "third", "new"]
    for number in range(200):  # pages without files take memory, too
        note(f"empty{number}", 0)
    assert sum(recent.get(f"empty{number}") is not None for number in range(200)) == 100


def test_a_huge_listing_leaves_the_others_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_FILES", 100)
    recent = RecentListings()
    recent.note("small", listing("small", 3, NOW))
    recent.note("grows", listing("grows", 3, NOW))
    recent.note("grows", listing("grows", 25, NOW))
    assert recent.get("small") is not None
    assert recent.get("grows") is None  # and nothing older instead of it


def test_a_listing_that_was_read_replaces_no_newer_one() -> None:
    """One thread reads a listing, and another one writes a newer one before it is noted."""
    recent = RecentListings()
    newer, older = listing("six", 2, NOW), listing("six", 1, NOW - 1)
    recent.note("six", newer)
    assert recent.note_read("six", older) is newer
    assert recent.get("six") is newer
    newest = listing("six", 3, NOW + 1)
    assert recent.note_read("six", newest) is newest
    assert recent.get("six") is newest
