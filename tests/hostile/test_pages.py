"""Project pages that are broken, lie or attack, all in one sync: what was published stays, the
other projects go on, and the reason is in the report.

See "Transport" and "Index" in the facts on hostile input.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from pypimirror.domain.model import Reason
from pypimirror.pipeline.summary import Summary
from tests.hostile.conftest import Bomb, Room
from tests.mirror import offer_sdist
from tests.simulator import (
    Chunked,
    CloseIdle,
    Drip,
    Encoded,
    EndlessChunked,
    Hangup,
    HeaderFlood,
    HtmlError,
    IndexFile,
    Longer,
    LyingLength,
    MissingLength,
    NotModified,
    Raw,
    Redirect,
    RedirectLoop,
    Replace,
    Reset,
    SetHeaders,
    Simulator,
    Stall,
    Status,
    Truncate,
)
from tests.simulator.pages import json_project


def page(name: str, /, **changes: Any) -> bytes:
    """A page that would be a good one, but for the changes; `...` takes a key away."""
    document = {"meta": {"api-version": "1.1"}, "name": name, "versions": [], "files": []} | changes
    return json.dumps({k: v for k, v in document.items() if v is not ...}).encode()


def says(**changes: Any) -> Any:
    """A page's content as a fault: it is made when the name is known."""
    return lambda name: Replace(page(name, **changes))


#: A fault of the page, and the reason; None where the page must be read all the same.
CASES: dict[str, tuple[Any, Reason | None]] = {
    "reset": (Reset(), Reason.CONNECTION),
    "reset-in-body": (Reset(after=50), Reason.CONNECTION),
    "hang-up": (Hangup(), Reason.CONNECTION),
    "silence": (Stall(), Reason.TIMEOUT),
    "silence-in-body": (Stall(after=50), Reason.TIMEOUT),
    "slow-drip": (Drip(1, 0.05), Reason.TIMEOUT),
    "truncated": (Truncate(at=50), Reason.TRUNCATED),
    "no-length": (MissingLength(), None),
    "no-length-and-cut": (MissingLength(at=50), Reason.BAD_PAGE),
    "length-too-large": (LyingLength(10**4), Reason.TRUNCATED),
    "length-too-small": (LyingLength(10), Reason.TOO_LARGE),
    "length-no-number": (LyingLength("x"), Reason.BAD_RESPONSE),
    "hundred-megabytes": (LyingLength(100_000_000), Reason.TOO_LARGE),
    "chunks": (Chunked(100), None),
    "chunks-cut": (Chunked(100, cut=True), Reason.TRUNCATED),
    "chunks-broken": (Chunked(100, bad=True), Reason.BAD_RESPONSE),
    "chunks-without-end": (EndlessChunked(filling=b" " * (1 << 20)), Reason.TOO_LARGE),
    "redirect-loop": (RedirectLoop(), Reason.REDIRECT),
    "redirects-without-end": (RedirectLoop(changing=True), Reason.REDIRECT),
    "redirect-to-file": (Redirect("file:///etc/passwd"), Reason.REDIRECT),
    "redirect-to-metadata": (Redirect("http://169.254.169.254/"), Reason.HOST_NOT_ALLOWED),
    "forbidden": (Status(403), Reason.HTTP_STATUS),
    "broken-server": (Status(500), Reason.HTTP_STATUS),
    "too-many-requests": (Status(429, retry_after=0), Reason.HTTP_STATUS),
    "unavailable": (Status(503, retry_after=0), Reason.HTTP_STATUS),
    "unknown-status": (Status(299), Reason.BAD_RESPONSE),
    "html-login": (
        HtmlError(b"<html><title>Sign in</title><form><input name=user></form></html>"),
        Reason.BAD_PAGE,
    ),
    "encoded": (Encoded("gzip"), None),
    "encoded-badly": (Encoded("gzip", broken=True), Reason.TRUNCATED),
    "bomb": (Bomb(128 << 20), Reason.TOO_LARGE),
    "header-flood": (HeaderFlood(20_000), Reason.BAD_RESPONSE),
    "no-http": (Raw(), Reason.BAD_RESPONSE),
    "closed-while-idle": (CloseIdle(), None),
    "closed-on-reuse": (CloseIdle(on_reuse=True), None),
    "empty": (Replace(b""), Reason.BAD_PAGE),
    "no-json": (Replace(b'{"meta": {"api-version": "1.0"}, "name": '), Reason.BAD_PAGE),
    "no-utf8": (Replace(b'{"meta": "\xff\xfe"}'), Reason.BAD_PAGE),
    "a-list": (Replace(b"[]"), Reason.BAD_PAGE),
    "nested-deeply": (Replace(b'{"a":' * 100_000), Reason.BAD_PAGE),
    "no-meta": (says(meta=...), Reason.BAD_PAGE),
    "no-files": (says(files=...), Reason.BAD_PAGE),
    "no-name": (says(name=...), Reason.BAD_PAGE),
    "files-are-text": (says(files="none"), Reason.BAD_PAGE),
    "name-is-number": (says(name=7), Reason.BAD_PAGE),
    "versions-are-numbers": (says(versions=[1, 2]), Reason.BAD_PAGE),
    "newer-major": (says(meta={"api-version": "2.0"}), Reason.API_VERSION),
    "newer-major-by-type": (
        SetHeaders({"Content-Type": "application/vnd.pypi.simple.v2+json"}),
        Reason.API_VERSION,
    ),
    "newer-minor": (None, None),  # set below: the page as it is, and another version
    "no-version-number": (says(meta={"api-version": "new"}), Reason.BAD_PAGE),
    "of-another-project": (says(name="six"), Reason.WRONG_PROJECT),
    "unknown-type": (SetHeaders({"Content-Type": "image/png"}), None),  # the content tells
    "odd-serial": (SetHeaders({"X-PyPI-Last-Serial": "9" * 40}), None),
    "not-modified-unasked": (NotModified(), Reason.BAD_RESPONSE),
}


@dataclass
class Case:
    """A healthy sync, then one with everything that is wrong."""

    room: Room
    files: dict[str, IndexFile]
    added: dict[str, IndexFile]
    result: Summary

    def failure(self, name: str) -> Reason | None:
        return next((p.reason for p in self.result.failures if p.project == name), None)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Case]:
    with Simulator(etags=False) as simulator:  # so that a 304 is never asked for
        files = {name: offer_sdist(simulator, name, "1.0") for name in CASES}
        files["healthy"] = offer_sdist(simulator, "healthy", "1.0")
        room = Room(tmp_path_factory.mktemp("pages"), simulator)
        assert room.mirror.sync().state == "completed"
        added = {name: offer_sdist(simulator, name, "2.0") for name in files}
        for name, (fault, _) in CASES.items():
            if name == "newer-minor":
                text = json.loads(json_project(simulator.project(name), simulator.style))
                fault = Replace(json.dumps(text | {"meta": {"api-version": "1.99"}}).encode())
            elif callable(fault):
                fault = fault(name)
            simulator.fault(f"/simple/{name}/", fault)
        yield Case(room, files, added, room.mirror.sync())


FAILING = [name for name, (_, reason) in CASES.items() if reason]


@pytest.mark.parametrize("name", FAILING)
def test_a_page_that_cannot_be_used_is_reported_and_changes_nothing(case: Case, name: str) -> None:
    reason = CASES[name][1]
    # What comes behind the end is seen where it comes in time.
    also = Reason.BAD_PAGE if name == "length-too-small" else reason
    assert case.failure(name) in (reason, also)
    assert case.room.mirror.files(name) == [case.files[name].filename]
    assert case.room.mirror.holds(case.files[name])


@pytest.mark.parametrize("name", sorted({*CASES, "healthy"} - set(FAILING)))
def test_a_page_that_can_be_used_is_used(case: Case, name: str) -> None:
    assert case.failure(name) is None
    assert case.room.mirror.files(name) == [case.files[name].filename, case.added[name].filename]


def test_the_run_says_so(case: Case) -> None:
    assert case.result.state == "incomplete"
    assert len(case.result.failures) == len(FAILING)
    assert set(case.result.stages) == {"discover"}
    assert case.result.counts["files_withdrawn"] == 0
    assert all(problem.message for problem in case.result.failures)


def test_nothing_outside_of_the_mirror_root_is_touched(case: Case) -> None:
    case.room.check()


def test_pages_that_failed_are_asked_for_again(case: Case) -> None:
    rows = case.room.mirror.query("SELECT name FROM projects WHERE needs_fetch")
    assert {row["name"] for row in rows} == set(FAILING)


def test_more_than_was_announced_is_never_part_of_a_page(
    simulator: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It may come too late to be seen; then the page is what was announced."""
    for name in ("six", "idna"):
        offer_sdist(simulator, name, "1.0")
    simulator.fault("/simple/six/", Longer())
    room = Room(tmp_path_factory.mktemp("longer"), simulator)
    result = room.mirror.sync()
    assert {problem.reason for problem in result.failures} <= {Reason.TOO_LARGE}
    assert "idna" in room.mirror.projects
    room.check()


@pytest.mark.parametrize("content_type", ["text/html", "application/vnd.pypi.simple.v1+json"])
def test_a_page_for_people_is_no_project_without_files(
    simulator: Simulator, tmp_path_factory: pytest.TempPathFactory, content_type: str
) -> None:
    """Else an error page with status 200 withdraws all files of a project, and says nothing."""
    file = offer_sdist(simulator, "six", "1.0")
    offer_sdist(simulator, "idna", "1.0")
    room = Room(tmp_path_factory.mktemp("people"), simulator)
    room.mirror.sync()
    simulator.project("six").touch()
    simulator.fault("/simple/six/", HtmlError(content_type=content_type))
    result = room.mirror.sync()
    assert {p.project: p.reason for p in result.failures} == {"six": Reason.BAD_PAGE}
    assert room.mirror.files("six") == [file.filename]


# Lists

LISTS: dict[str, Any] = {
    "reset": Reset(),
    "silence": Stall(),
    "truncated": Truncate(at=30),
    "chunks-cut": Chunked(20, cut=True),
    "header-flood": HeaderFlood(20_000),
    "not-modified-unasked": NotModified(),
    "redirect-loop": RedirectLoop(),
    "redirect-to-metadata": Redirect("http://169.254.169.254/"),
    "html-error": HtmlError(),
    "no-json": Replace(b'{"meta": {"api-version": "1.0"}, "projects": [{"na'),
    "empty": Replace(b""),
    "wrong-types": Replace(b'{"meta": {"api-version": "1.0"}, "projects": {"six": 1}}'),
    "entries-of-wrong-types": Replace(b'{"meta": {"api-version": "1.0"}, "projects": [1, null]}'),
    "no-projects": Replace(b'{"meta": {"api-version": "1.0"}}'),
    "newer-major": Replace(b'{"meta": {"api-version": "2.0"}, "projects": []}'),
    "encoded-badly": Encoded("gzip", broken=True),
}


@pytest.fixture(scope="module")
def listed(
    tmp_path_factory: pytest.TempPathFactory, database: str
) -> Iterator[tuple[Room, Simulator]]:
    with Simulator(etags=False) as simulator:
        offer_sdist(simulator, "six", "1.0")
        room = Room(tmp_path_factory.mktemp("lists"), simulator)
        room.mirror.sync()
        yield room, simulator


@pytest.mark.parametrize("name", LISTS)
def test_a_list_that_cannot_be_used_stops_the_run_and_changes_nothing(
    listed: tuple[Room, Simulator], name: str
) -> None:
    room, simulator = listed
    before = room.mirror.served()
    rule = simulator.fault("/simple/", LISTS[name])
    result = room.mirror.sync()
    simulator.heal(rule)
    assert result.state == "failed"
    assert [problem.message for problem in result.failures] == [result.message]
    assert room.mirror.served() == before
    room.check()


def test_hostile_names_in_a_list_cost_only_themselves(
    listed: tuple[Room, Simulator], caplog: pytest.LogCaptureFixture
) -> None:
    room, simulator = listed
    names = [
        "../evil", "..", ".", "", "/etc/passwd", "a/b", "a\\b", "%2e%2e%2f", "a\x00b", "a\nb",
        "-dash", ".dot", "x" * 300, "é", "a b", "six?x=1", "six#x", "con\u202e", "Six", "SIX",
    ]  # fmt: skip
    document = {"meta": {"api-version": "1.0"}, "projects": [{"name": name} for name in names]}
    document["projects"] += [{"name": 7}, {"no": "name"}, None]  # type: ignore[operator]
    rule = simulator.fault("/simple/", Replace(json.dumps(document).encode()))
    simulator.forget()
    result = room.mirror.sync()
    simulator.heal(rule)
    assert result.state == "completed"
    assert {request.path for request in simulator.requests} == {"/simple/", "/simple/six/"}
    assert "no project's name: " in caplog.text
    assert room.mirror.projects == ["six"]
    room.check()
