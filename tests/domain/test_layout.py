"""Where files belong, and that no address leads elsewhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypimirror.domain.layout import file_path, hashed_location, page_paths


def test_paths() -> None:
    assert page_paths(None, ["html", "json"]) == {
        "html": "simple/index.html",
        "json": "simple/index.v1_json",
    }
    assert page_paths("six", ["json"]) == {"json": "simple/six/index.v1_json"}
    assert file_path("six", "six-1.zip", None) == "packages/six/six-1.zip"
    assert file_path("six", "six-1.zip", "packages/a/b/c") == "packages/a/b/c/six-1.zip"


HASHED = f"ab/cd/{'0' * 60}"


@pytest.mark.parametrize(
    ("path", "location"),
    [
        (f"/packages/{HASHED}/six-1.0.zip", f"packages/{HASHED}"),
        (f"/mirror/packages/{HASHED}/six-1.0.zip", f"packages/{HASHED}"),
        ("/packages/six/six-1.0.zip", None),
        (f"/packages/{HASHED.upper()}/six-1.0.zip", None),
        (f"/packages/../{HASHED}/six-1.0.zip", None),
        (f"/packages/ab/cd/{'0' * 59}/six-1.0.zip", None),
    ],
)
def test_only_a_hashed_path_is_taken_over(path: str, location: str | None) -> None:
    assert hashed_location(path) == location


@given(st.text(alphabet="/.%abcdef0129packges\\\x00", max_size=120))
def test_no_address_leads_out_of_packages(path: str) -> None:
    location = hashed_location(path)
    assert location is None or (location.startswith("packages/") and ".." not in location)
