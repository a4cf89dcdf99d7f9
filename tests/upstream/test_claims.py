"""What becomes of each key of a page and of a list: used, refused or told, never dropped silently.

The tables are those of the readers' docstrings: a key without a case here, or the reverse, fails.
"""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import pytest

from pypimirror.domain import bounded
from pypimirror.domain.model import ProjectPage, ReadError
from pypimirror.upstream import html, json, listing
from tests.upstream.pages import (
    OTHER_SHA,
    SHA,
    URL,
    WHEEL,
    anchor,
    document,
    encode,
    entry,
    page,
)

USED, REFUSED, TOLD, NOTHING, PAGE = "used", "refused", "told", "nothing", "page refused"

#: Key, value and what happens, of the page and of a file.
ON_THE_PAGE: list[tuple[str, Any, str]] = [
    ("meta", {"api-version": "1.1", "_last-serial": 3}, USED),
    ("meta", {"api-version": "1.1", "tracks": []}, TOLD),
    ("meta", {"api-version": "1.1", "_last-serial": {}}, TOLD),
    ("meta", {"api-version": "2.0"}, PAGE),
    ("meta", None, TOLD),  # pip takes such a page
    *(("meta", {"api-version": value}, TOLD) for value in (1, 1.0, 1.4)),
    *(("meta", {"api-version": value}, PAGE) for value in (True, 2.0, 10**400, [])),
    ("meta", {"api-version": None}, TOLD),
    ("name", "SIX", USED),
    ("name", "seven", PAGE),
    ("name", ["six"], PAGE),
    ("files", {}, PAGE),
    ("files", "six", PAGE),
    ("versions", ["1.16.0"], USED),
    ("versions", ["1.16.0", "9" * 5000], TOLD),
    ("versions", "1.16.0", PAGE),
    ("versions", [1], PAGE),
    ("project-status", {"status": "archived"}, USED),
    ("project-status", {"status": "asleep"}, TOLD),
    ("project-status", {"status": "archived", "since": 1}, TOLD),
    ("project-status", "quarantined", PAGE),
    ("project-status", {"status": ["quarantined"]}, PAGE),
    ("project-status", {"status": "archived", "reason": 5}, PAGE),
    ("_*", {"_x": 1}, NOTHING),
    ("any other", {"tracks": ["a"]}, USED),
    ("any other", {"tracks": "\0"}, TOLD),
]
_WRONG_TYPES: list[Any] = [5, 1.5, [], {}, [[]], True]
ON_A_FILE: list[tuple[str, Any, str]] = [
    *(("filename", value, REFUSED) for value in (None, 5, "", "../six-1.zip", "seven-1.zip")),
    ("filename", "six-2.0.zip", USED),
    *(("url", value, REFUSED) for value in (None, 5, [], "ftp://a.example.org/six")),
    ("url", f"https://a.example.org/{WHEEL}", USED),
    ("url", f"https://a.example.org/{WHEEL}#md5={'ab' * 16}", USED),
    ("url", f"https://a.example.org/{WHEEL}#egg=six&SHA256={SHA.upper()}", USED),
    ("url", f"https://a.example.org/{WHEEL}#sha256={OTHER_SHA}", REFUSED),
    ("url", f"https://a.example.org/{WHEEL}#sha256=0", REFUSED),
    ("url", f"https://a.example.org/{WHEEL}#crc32=00", TOLD),
    ("hashes", {"md5": "ab" * 16}, USED),
    ("hashes", {"crc32": "00", "sha256": SHA}, TOLD),
    *(("hashes", value, REFUSED) for value in (5, "sha256", [], {"sha256": 5}, {"sha256": None})),
    *(("hashes", value, REFUSED) for value in ({"sha256": ""}, {"sha256": SHA[1:]})),
    ("hashes", None, USED),
    ("hashes", {}, USED),
    ("requires-python", ">=3.8", USED),
    ("requires-python", "no specifier", USED),
    ("requires-python", "", NOTHING),
    ("requires-python", ">=" + "9" * 5000, REFUSED),
    *(("requires-python", value, REFUSED) for value in _WRONG_TYPES),
    ("core-metadata", True, USED),
    ("core-metadata", {"sha256": SHA}, USED),
    ("core-metadata", {"sha256": SHA[1:]}, TOLD),
    ("core-metadata", {"md5": "ab" * 16}, TOLD),
    ("core-metadata", {"crc32": "00", "sha256": SHA}, TOLD),
    *(("core-metadata", value, REFUSED) for value in (5, "true", [], {"sha256": 5})),
    ("dist-info-metadata", True, USED),
    ("dist-info-metadata", {"sha256": SHA[1:]}, TOLD),
    ("dist-info-metadata", "true", REFUSED),
    ("data-dist-info-metadata", {"sha256": SHA}, USED),
    ("data-dist-info-metadata", 5, REFUSED),
    ("gpg-sig", True, NOTHING),
    *(("yanked", value, USED) for value in (True, "", "bad", " ")),
    *(("yanked", value, NOTHING) for value in (False, None)),
    *(("yanked", value, REFUSED) for value in (0, 1, 1.5, [], {}, ["bad"])),
    ("size", 3, USED),
    ("size", 0, USED),
    ("size", 3.0, USED),
    *(("size", value, REFUSED) for value in ("3", -1, 2**43, 2**63, 10**400, 1.5, True, [], {})),
    ("upload-time", "2025-01-02T03:04:05Z", USED),
    ("upload-time", "2025-01-02 03:04", USED),
    *(("upload-time", value, TOLD) for value in ("", "now", 5, 1e9, True, [], {})),
    ("provenance", "https://a.example.org/p", USED),
    ("provenance", "", NOTHING),
    *(("provenance", value, REFUSED) for value in (5, [], {}, True, "javascript:p")),
    ("_*", {"_x": 1}, NOTHING),
    ("any other", {"colour": 1}, USED),
    ("any other", {"colour": "\0"}, TOLD),
]
#: Attribute or meta tag of a page in HTML, value and what happens.
IN_HTML: list[tuple[str, str, str]] = [
    ("href", f"{WHEEL}#md5={'ab' * 16}", USED),
    ("href", f"{WHEEL}#crc32=00", TOLD),
    ("href", f"{WHEEL}#crc32-{'0' * 32}", TOLD),
    ("href", f"{WHEEL}#sha256=00", REFUSED),
    ("href", f"ftp://a.example.org/{WHEEL}", REFUSED),
    ("data-requires-python", ">=3.8", USED),
    ("data-requires-python", ">=" + "9" * 5000, REFUSED),
    ("data-yanked", "", USED),
    ("data-yanked", "false", USED),
    ("data-core-metadata", "true", USED),
    ("data-core-metadata", f"sha256={SHA}", USED),
    ("data-core-metadata", "false", NOTHING),
    ("data-core-metadata", "sha256=0", TOLD),
    ("data-core-metadata", "yes", TOLD),
    ("data-dist-info-metadata", f"sha256={SHA}", USED),
    ("data-dist-info-metadata", f"md5={'ab' * 16}", TOLD),
    ("data-gpg-sig", "true", NOTHING),
    ("data-provenance", "https://a.example.org/p", USED),
    ("data-provenance", "javascript:p", REFUSED),
    ("any other data-*", "data-size", TOLD),
    ("pypi:repository-version", "1.3", USED),
    ("pypi:repository-version", "2.0", PAGE),
    ("pypi:project-status", "archived", USED),
    ("pypi:project-status", "asleep", TOLD),
    ("pypi:project-status-reason", "done", USED),
    ("any other pypi:*", "pypi:tracks", TOLD),
    ("SERIAL", "5", USED),
]
#: Key of a list or of an entry, value and what happens.
ON_A_LIST: list[tuple[str, Any, str]] = [
    ("meta", {"api-version": "1.1", "_last-serial": 3}, USED),
    ("meta", {"api-version": "1.1", "_last-serial": {}}, TOLD),
    ("meta", {"api-version": "2.0"}, PAGE),
    ("meta", None, TOLD),  # as of a page: there are projects
    ("meta", {"api-version": None}, TOLD),
    ("meta", {"api-version": 1.4}, TOLD),
    ("projects", [{"name": "seven"}], USED),
    ("projects", [], USED),
    *(("projects", value, PAGE) for value in (None, 5, "six", {}, {"six": 1}, [5], [{}])),
    ("any other", {"colour": 1}, NOTHING),
    ("any other", {"_x": "\0"}, NOTHING),
]
IN_A_LIST: list[tuple[str, Any, str]] = [
    ("name", "seven", USED),
    *(("name", value, TOLD) for value in (None, 5, [], {}, "", "../six", "a b", "a" * 300)),
    ("_last-serial", 5, USED),
    ("_last-serial", "5", USED),
    ("_last-serial", 5.0, USED),
    ("_last-serial", bounded.MAX_SERIAL, USED),
    *(("_last-serial", value, NOTHING) for value in (None, 0, "0")),
    *(
        ("_last-serial", value, TOLD)
        for value in (bounded.MAX_SERIAL + 1, 2**63, 10**400, -1, 1.5, "x", "9" * 5000)
    ),
    *(("_last-serial", value, TOLD) for value in ("", [], {}, [5], True)),
    ("any other", {"colour": 1}, NOTHING),
]


def table_of(module: ModuleType, heading: str) -> set[str]:
    """The keys in a table of a docstring: what begins a line, left of two spaces."""
    assert module.__doc__ is not None
    _, _, rest = module.__doc__.partition(heading)
    rows = rest.split("\n")[2:]
    return {
        re.split(r"  +", row)[0]
        for row in rows[: next(n for n, row in enumerate(rows) if row.startswith("==="))]
        if not row.startswith(" ")
    }


@pytest.mark.parametrize(
    ("module", "heading", "cases"),
    [
        (json, "\nof the page ", ON_THE_PAGE),
        (json, "\nof a file ", ON_A_FILE),
        (html, "\nattribute or meta tag ", IN_HTML),
        (listing, "\nof a list ", [*ON_A_LIST, *IN_A_LIST]),
    ],
)
def test_each_row_of_the_table_has_a_case(
    module: ModuleType, heading: str, cases: list[tuple[str, Any, str]]
) -> None:
    assert table_of(module, heading) == {key for key, _, _ in cases}


def outcome(body: bytes, before: bytes, reader: ModuleType) -> str:
    """What a claim does that `body` has and `before` has not."""
    plain = reader.parse_page(before, url=URL, project="six")
    assert plain.files and not (plain.problems or plain.warnings)
    try:
        found: ProjectPage = reader.parse_page(body, url=URL, project="six")
    except ReadError:
        return PAGE
    if found.problems:
        assert not found.files
        return REFUSED
    assert found.files
    if found.warnings:
        return TOLD
    return NOTHING if found == plain else USED


def on(given: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    return {**given, **(value if key in ("_*", "any other") else {key: value})}


@pytest.mark.parametrize(("key", "value", "expected"), ON_THE_PAGE)
def test_a_claim_on_a_page(key: str, value: Any, expected: str) -> None:
    plain = page(entry(WHEEL))
    assert outcome(encode(on(plain, key, value)), encode(plain), json) == expected


@pytest.mark.parametrize(("key", "value", "expected"), ON_A_FILE)
def test_a_claim_on_a_file(key: str, value: Any, expected: str) -> None:
    body = encode(page(on(entry(WHEEL), key, value)))
    assert outcome(body, encode(page(entry(WHEEL))), json) == expected


@pytest.mark.parametrize(("key", "value", "expected"), IN_HTML)
def test_a_claim_in_html(key: str, value: str, expected: str) -> None:
    attributes, href, head, tail = {}, WHEEL, "<title>Links for six</title>", ""
    if key == "href":
        href = value
    elif key == "SERIAL":
        tail = f"<!--SERIAL {value}-->"
    elif key == "any other pypi:*":
        head += f'<meta name="{value}" content="x">'
    elif key.startswith("pypi:"):
        head += f'<meta name="{key}" content="{value}">'
    else:
        name = value if key == "any other data-*" else key
        attributes = {name.replace("-", "_"): value}
    body = document(anchor(href, WHEEL, **attributes), head=head) + tail.encode()
    assert outcome(body, document(anchor(WHEEL, WHEEL)), html) == expected


def test_two_keys_that_contradict_each_other_are_told() -> None:
    both = {"core-metadata": {"sha256": SHA}, "dist-info-metadata": {"sha256": OTHER_SHA}}
    body = encode(page({**entry(WHEEL), **both}))
    assert outcome(body, encode(page(entry(WHEEL))), json) == TOLD
    tag = anchor(
        WHEEL, data_core_metadata=f"sha256={SHA}", data_dist_info_metadata=f"sha256={OTHER_SHA}"
    )
    assert outcome(document(tag), document(anchor(WHEEL)), html) == TOLD


def outcome_of_list(body: bytes) -> str:
    """What a claim does that this list has, and one of two projects without anything has not."""
    kind, where = "application/vnd.pypi.simple.v1+json", "https://a.example.org/simple/"
    plain = listing.parse_list(encode(LIST), kind, where)
    assert len(plain.projects) == 2 and not plain.warnings
    try:
        found = listing.parse_list(body, kind, where)
    except ReadError:
        return PAGE
    if found.warnings:
        assert plain.projects[0] in found.projects, "no other project is lost by it"
        return TOLD
    return NOTHING if found == plain else USED


LIST: dict[str, Any] = {
    "meta": {"api-version": "1.1"},
    "projects": [{"name": "other"}, {"name": "six"}],
}


@pytest.mark.parametrize(("key", "value", "expected"), ON_A_LIST)
def test_a_claim_on_a_list(key: str, value: Any, expected: str) -> None:
    assert outcome_of_list(encode(on(LIST, key, value))) == expected


@pytest.mark.parametrize(("key", "value", "expected"), IN_A_LIST)
def test_a_claim_on_a_project_in_a_list(key: str, value: Any, expected: str) -> None:
    other, six = LIST["projects"]
    body = encode({**LIST, "projects": [other, on(six, key, value)]})
    assert outcome_of_list(body) == expected


@pytest.mark.parametrize("serial", ["x", 2**63, -1, {}, []])
def test_a_serial_that_is_none_never_costs_its_project(serial: Any) -> None:
    body = encode({**LIST, "projects": [{"name": "six", "_last-serial": serial}]})
    (project,) = listing.parse_list(body, "application/json", "https://a.example.org/").projects
    assert (project.name, project.serial) == ("six", None)
