"""File names, links, digests and texts that attack: in JSON and in HTML.

See "Names" and "Index" in the facts on hostile input.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

import pytest

from pypimirror.domain.filenames import printable
from pypimirror.domain.model import Reason
from pypimirror.pipeline.summary import Summary
from tests.hostile.conftest import Room
from tests.simulator import Simulator

BODY = b"the bytes of a file"
SHA256 = hashlib.sha256(BODY).hexdigest()

#: Names that no file may have. Each stands on a project's page beside a good one.
NAMES: dict[str, tuple[str, Reason]] = {
    "climbing": ("../../../../packages/bystander", Reason.UNSAFE_NAME),
    "climbing-from-name": ("{}-1/../../../evil.zip", Reason.UNSAFE_NAME),
    "climbing-encoded": ("%2e%2e%2f%2e%2e%2fevil.zip", Reason.UNSAFE_NAME),
    "climbing-encoded-in-name": ("{}-1%2f..%2fevil.zip", Reason.UNSAFE_NAME),
    "climbing-backslash": ("..\\..\\evil.zip", Reason.UNSAFE_NAME),
    "absolute": ("/tmp/evil.zip", Reason.UNSAFE_NAME),
    "absolute-windows": ("C:\\evil.zip", Reason.UNSAFE_NAME),
    "dots": ("..", Reason.UNSAFE_NAME),
    "nul": ("{}-1.0\0.zip", Reason.UNSAFE_NAME),
    "newline": ("{}-1.0\n.zip", Reason.UNSAFE_NAME),
    "control": ("{}-1.0\x1b[2J.zip", Reason.UNSAFE_NAME),
    "direction": ("{}-1.0\u202epiz.exe.zip", Reason.UNSAFE_NAME),
    "three-hundred-bytes": ("{}-" + "1" * 300 + ".zip", Reason.UNSAFE_NAME),
    "three-hundred-bytes-utf8": ("{}-" + "é" * 125 + ".zip", Reason.UNSAFE_NAME),
    "con": ("con.zip", Reason.UNSAFE_NAME),
    "leading-dot": (".{}-1.0.zip", Reason.UNSAFE_NAME),
    "leading-dash": ("-{}-1.0.zip", Reason.UNSAFE_NAME),
    "trailing-dot": ("{}-1.0.zip.", Reason.UNSAFE_NAME),
    "decomposed": ("{}-1.0e\u0301.zip", Reason.UNSAFE_NAME),
    "sidecar": ("{}-1.0.zip.metadata", Reason.UNSAFE_NAME),
    "other-project": ("numpy-1.0.zip", Reason.WRONG_PROJECT),
    "index-page": ("index.html", Reason.WRONG_PROJECT),
}

#: Links that nothing may be fetched from.
LINKS: dict[str, tuple[str, Reason]] = {
    "javascript": ("javascript:alert(1)//{}", Reason.UNSAFE_URL),
    "data": ("data:application/zip;base64,eA==", Reason.UNSAFE_URL),
    "file": ("file:///etc/passwd", Reason.UNSAFE_URL),
    "ftp": ("ftp://127.0.0.1/{}", Reason.UNSAFE_URL),
    "credentials": ("http://user:pass@127.0.0.1/{}", Reason.UNSAFE_URL),
    "control-characters": ("http://127.0.0.1/\x01{}", Reason.UNSAFE_URL),
    "no-host": ("http://:80/{}", Reason.UNSAFE_URL),
    "bad-port": ("http://127.0.0.1:99999/{}", Reason.UNSAFE_URL),
    "other-host": ("http://192.0.2.1/{}", Reason.HOST_NOT_ALLOWED),
    "metadata-service": ("http://169.254.169.254/{}", Reason.HOST_NOT_ALLOWED),
}

#: What is wrong with a file's entry in JSON.
ENTRIES: dict[str, tuple[dict[str, Any], Reason]] = {
    "short-digest": ({"hashes": {"sha256": "abc"}}, Reason.BAD_DIGEST),
    "digest-no-hex": ({"hashes": {"sha256": "z" * 64}}, Reason.BAD_DIGEST),
    "digest-no-text": ({"hashes": {"sha256": 7}}, Reason.BAD_PAGE),
    # Without a digest that counts the archive itself must be the proof, and this is none.
    "unknown-algorithm": ({"hashes": {"crc32": "00000000"}}, Reason.BAD_ARCHIVE),
    "no-digest": ({"hashes": {}}, Reason.BAD_ARCHIVE),
    "one-digest-wrong": ({"hashes": {"sha256": SHA256, "md5": "0" * 32}}, Reason.DIGEST_MISMATCH),
    "wrong-size": ({"size": len(BODY) + 1}, Reason.SIZE_MISMATCH),
    "negative-size": ({"size": -1}, Reason.BAD_PAGE),
    "huge-size": ({"size": 10**30}, Reason.BAD_PAGE),
    "yanked-is-a-list": ({"yanked": ["x"]}, Reason.BAD_PAGE),
    "url-is-missing": ({"url": ...}, Reason.BAD_PAGE),
    "nul-in-yanked": ({"yanked": "a\0b"}, Reason.BAD_PAGE),
}


@dataclass
class Case:
    """One sync of many pages with one bad entry each, beside a good one."""

    room: Room
    simulator: Simulator
    result: Summary

    def reasons(self, project: str) -> set[Reason]:
        return {p.reason for p in self.result.failures if p.project == project}


def good(project: str) -> str:
    return f"{project.replace('-', '_')}-9.9.tar.gz"


def offer(simulator: Simulator, project: str, *entries: dict[str, Any], form: str) -> None:
    """A page with these entries and a good file."""
    simulator.serve(f"/files/{good(project)}", BODY)
    files = [entry(good(project)), *entries]
    simulator.project(project)
    if form == "json":
        document = {"meta": {"api-version": "1.1"}, "name": project, "versions": []}
        simulator.page(project, json.dumps(document | {"files": files}))
        return
    links = [
        f'<a href="{escape(file["url"])}#sha256={SHA256}">{escape(file["filename"])}</a>'
        for file in files
    ]
    simulator.page(project, f"<!DOCTYPE html><html>{''.join(links)}</html>", "text/html")


def entry(filename: str, **changes: Any) -> dict[str, Any]:
    """A file's entry; `...` takes a key away."""
    values = {"filename": filename, "url": f"/files/{good('any')}", "hashes": {"sha256": SHA256}}
    values |= {"url": f"/files/{filename}"} | changes
    return {key: value for key, value in values.items() if value is not ...}


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Case]:
    with Simulator() as simulator:
        simulator.serve("/files/any", BODY)
        for form in ("json", "html"):
            for name, (filename, _) in NAMES.items():
                project = f"{form}-{name}"
                bad = filename.format(project)
                # The link is sound: nothing but the name stands in the way.
                offer(simulator, project, entry(bad, url="/files/any"), form=form)
            for name, (link, _) in LINKS.items():
                project = f"{form}-{name}"
                filename = f"{project}-1.0.zip"
                bad_link = link.format(filename)
                offer(simulator, project, entry(filename, url=bad_link), form=form)
        for name, (changes, _) in ENTRIES.items():
            filename = f"{name}-1.0.zip"
            simulator.serve(f"/files/{filename}", BODY)
            offer(simulator, name, entry(filename, **changes), form="json")
        _offer_odd_pairs(simulator)
        room = Room(tmp_path_factory.mktemp("names"), simulator)
        yield Case(room, simulator, room.mirror.sync())


def _offer_odd_pairs(simulator: Simulator) -> None:
    for filename in ("case-1.0.zip", "Case-1.0.ZIP", "twice-1.0.zip", "clash-1.0.zip"):
        simulator.serve(f"/files/{filename}", BODY)
    offer(simulator, "case", entry("case-1.0.zip"), entry("Case-1.0.ZIP"), form="json")
    offer(simulator, "twice", entry("twice-1.0.zip"), entry("twice-1.0.zip"), form="json")
    other = entry("clash-1.0.zip", hashes={"sha256": "0" * 64})
    offer(simulator, "clash", entry("clash-1.0.zip"), other, form="json")
    simulator.serve("/files/script-1.0.zip", BODY)
    texts = {
        "yanked": "</a><script>alert(1)</script>",
        "requires-python": '"><script>alert(2)</script>',
    }
    offer(simulator, "script", entry("script-1.0.zip", **texts), form="json")


@pytest.mark.parametrize("form", ["json", "html"])
@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_name_is_refused_and_its_neighbour_published(
    case: Case, form: str, name: str
) -> None:
    project = f"{form}-{name}"
    assert case.room.mirror.files(project) == [good(project)]
    reasons = case.reasons(project)
    if form == "json":
        assert reasons == {NAMES[name][1]}
    else:
        # A link of a page for people that is no distribution's is none of the index's.
        assert reasons <= {Reason.UNSAFE_NAME, Reason.WRONG_PROJECT}


@pytest.mark.parametrize("form", ["json", "html"])
@pytest.mark.parametrize("name", LINKS)
def test_a_hostile_link_is_refused_and_its_neighbour_published(
    case: Case, form: str, name: str
) -> None:
    project = f"{form}-{name}"
    assert case.room.mirror.files(project) == [good(project)]
    if (form, name) == ("html", "control-characters"):
        # In HTML the address also tells the name.
        assert case.reasons(project) <= {Reason.UNSAFE_URL, Reason.UNSAFE_NAME}
        return
    assert case.reasons(project) == {LINKS[name][1]}


@pytest.mark.parametrize("name", ENTRIES)
def test_a_wrong_entry_is_refused_and_its_neighbour_published(case: Case, name: str) -> None:
    assert case.reasons(name) == {ENTRIES[name][1]}
    assert case.room.mirror.files(name) == [good(name)]


def test_names_that_differ_only_by_case_are_not_both_taken(case: Case) -> None:
    assert case.reasons("case") == {Reason.DUPLICATE_NAME}
    assert case.room.mirror.files("case") == ["case-1.0.zip", good("case")]


def test_the_same_file_twice_is_one_file(case: Case) -> None:
    assert case.reasons("twice") == set()
    assert case.room.mirror.files("twice") == ["twice-1.0.zip", good("twice")]
    assert case.simulator.downloads("twice-1.0.zip") <= 1


def test_one_name_with_two_digests_is_not_taken_at_all(case: Case) -> None:
    assert case.reasons("clash") == {Reason.DIGEST_CONFLICT}
    assert case.room.mirror.files("clash") == [good("clash")]


def test_html_in_texts_stays_text(case: Case) -> None:
    html = (case.room.mirror.root / "simple/script/index.html").read_text()
    assert "<script>" not in html
    (said, _) = case.room.mirror.page("script")["files"]
    assert said["yanked"] == "</a><script>alert(1)</script>"


def test_the_run_says_so_in_words_that_can_be_printed(case: Case) -> None:
    assert case.result.state == "incomplete"
    for problem in case.result.failures:
        assert problem.message.isprintable()
        assert problem.file == printable(problem.file)


def test_nothing_outside_of_the_mirror_root_is_touched(case: Case) -> None:
    case.room.check()


def test_no_other_host_was_asked_and_nothing_is_left_in_staging(case: Case) -> None:
    assert list((case.room.mirror.root / ".pypimirror" / "staging").iterdir()) == []
    places = {path.name for path in (case.room.mirror.root / "packages").rglob("*")}
    assert "bystander" not in places


def test_refused_names_are_said_again_in_the_next_run(case: Case) -> None:
    again = case.room.mirror.sync()
    assert again.state == "incomplete"
    refused = {(p.project, p.file, p.reason) for p in case.result.failures}
    assert {(p.project, p.file, p.reason) for p in again.failures} == refused
