"""When a listing is believed."""

from __future__ import annotations

import pytest

from pypimirror.domain.model import ProjectPage
from pypimirror.on_demand.listing import Listing

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
