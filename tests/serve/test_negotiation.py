"""Each client gets the form of a page that it asks for, by the rules of the simple API."""

from __future__ import annotations

import pytest

from pypimirror.serve.negotiation import HTML, JSON, TEXT_HTML, negotiate

BOTH = frozenset({"index.html", "index.v1_json"})
LATEST = "application/vnd.pypi.simple.latest"

PIP = f"{JSON}, {HTML}; q=0.1, text/html; q=0.01"
UV = f"{JSON}, {HTML};q=0.2, text/html;q=0.01"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", TEXT_HTML),
        ("*/*", TEXT_HTML),
        (PIP, JSON),
        (UV, JSON),
        (BROWSER, TEXT_HTML),
        (JSON, JSON),
        (JSON.upper(), JSON),
        (HTML, HTML),
        (f"{LATEST}+json", JSON),
        (f"{LATEST}+html", HTML),
        ("text/*", TEXT_HTML),
        ("application/*", JSON),
        (f"{HTML}, {JSON}", JSON),
        (f"text/html, {JSON}", JSON),
        (f"{JSON};q=0.5, {HTML};q=0.6", HTML),
        (f"{JSON};q=0.1, */*;q=0.2", TEXT_HTML),
        (f"text/html;q=0, {JSON};q=0.1, */*;q=0.2", HTML),
        ("text/html;q=0, */*", JSON),
        ("text/html;q=0", None),
        ("image/png", None),
        ("application/json", None),
        ("application/vnd.pypi.simple.v2+json", None),
        ("*/*;q=0", None),
        ("nonsense;;;q=x", None),
    ],
)
def test_accept_decides(accept: str, expected: str | None) -> None:
    assert negotiate(accept, None, BOTH) == expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [(JSON, JSON), (f"{LATEST}+html", HTML), ("text/html", TEXT_HTML), ("*/*", None), ("", None)],
)
def test_format_goes_before_accept(wanted: str, expected: str | None) -> None:
    for accept in ("", PIP, BROWSER, "image/png"):
        assert negotiate(accept, wanted, BOTH) == expected


@pytest.mark.parametrize(
    ("accept", "name", "expected"),
    [
        (PIP, "index.html", HTML),
        (BROWSER, "index.v1_json", JSON),
        ("", "index.v1_json", JSON),
        (JSON, "index.html", None),
        ("text/html", "index.v1_json", None),
    ],
)
def test_only_what_is_on_disk_is_offered(accept: str, name: str, expected: str | None) -> None:
    assert negotiate(accept, None, frozenset({name})) == expected
