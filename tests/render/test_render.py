"""What a page says is what its files are, in both forms, whatever the names and reasons hold."""

from __future__ import annotations

import re
from functools import partial
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

import msgspec
import pypi_simple
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pypimirror.domain.model import ALGORITHMS, ProjectStatus
from pypimirror.render.pages import Elsewhere, Page, PageFile, RootEntry
from pypimirror.render.rendering import ROOT_FORMS, page_html, page_json, root

root_html, root_json = (partial(root, ROOT_FORMS[form]) for form in ("html", "json"))

SHA256 = "5a" * 32

repeatable = settings(derandomize=True, deadline=None, max_examples=100)


def a_file(filename: str = "six-1.16.0.tar.gz", **changes: Any) -> PageFile:
    values: dict[str, Any] = {
        "filename": filename,
        "path": f"packages/six/{filename}",
        "digests": {"sha256": SHA256},
        "size": 34041,
    }
    return PageFile(**(values | changes))


def a_page(*files: PageFile, **changes: Any) -> Page:
    values: dict[str, Any] = {
        "project": "six",
        "api_version": (1, 4),
        "serial": 42,
        "status": ProjectStatus.ACTIVE,
        "status_reason": None,
        "versions": ("1.16.0",),
        "files": files,
    }
    return Page(**(values | changes))


def as_json(page: Page) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(page_json(page))
    return decoded


def as_html(page: Page) -> pypi_simple.ProjectPage:
    return pypi_simple.ProjectPage.from_html("six", page_html(page).decode())


# --- any page -------------------------------------------------------------------------------------

reasons = st.none() | st.text(max_size=30) | st.text("<>&\"'\r\n\t\x00\x1b\x85 a", max_size=12)
hexadecimal = st.text("0123456789abcdef", min_size=64, max_size=64)
filenames = (
    st.text("abZ09-_.+!#?&<>\"'% é日~:;=@$()[]{}|^`,\\", min_size=1, max_size=24)
    .filter(lambda name: name == name.strip() and not name.startswith("."))
    .map(lambda name: f"{name}.tar.gz")
)


@st.composite
def page_files(draw: st.DrawFn) -> PageFile:
    digests = {"sha256": draw(hexadecimal)}
    for name in draw(st.sets(st.sampled_from(sorted(ALGORITHMS)))):
        digests.setdefault(name, "ab" * ALGORITHMS[name])
    return a_file(
        draw(filenames),
        digests=digests,
        size=draw(st.integers(0, 2**53)),
        requires_python=draw(reasons),
        yanked=draw(reasons),
        core_metadata=draw(st.none() | hexadecimal),
        upload_time=draw(st.none() | st.just("2021-05-05T14:18:17.237148Z")),
        provenance=draw(st.booleans()),
        extra=draw(st.dictionaries(st.text(max_size=8), st.integers(0, 9), max_size=2)),
    )


any_page = st.builds(
    lambda files, version, status, reason, serial: a_page(
        *files, api_version=version, status=status, status_reason=reason, serial=serial
    ),
    st.lists(page_files(), max_size=3, unique_by=lambda file: file.filename),
    st.sampled_from([(1, 0), (1, 1), (1, 3), (1, 4), (1, 9)]),
    st.sampled_from([s for s in ProjectStatus if s is not ProjectStatus.QUARANTINED]),
    reasons,
    st.none() | st.integers(0, 2**60),
)


def shown(text: str | None) -> str | None:
    """How HTML shows `text`: it has no control characters but white space."""
    return text and re.sub(
        "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", "\N{REPLACEMENT CHARACTER}", text
    )


@repeatable
@given(any_page)
def test_any_page_reads_back_the_same_from_json(page: Page) -> None:
    read = as_json(page)
    assert len(read["files"]) == len(page.files)
    for file, entry in zip(page.files, read["files"], strict=True):
        assert entry["filename"] == file.filename
        assert entry["size"] == file.size
        assert entry["hashes"]["sha256"] == file.digests["sha256"]
        assert entry["hashes"].items() <= file.digests.items()
        assert entry.get("requires-python") == file.requires_python
        assert entry.get("upload-time") == file.upload_time
        assert entry.get("provenance") == (
            entry["url"] + ".provenance" if file.provenance else None
        )
        assert entry["yanked"] == (False if file.yanked is None else file.yanked or True)
        expected = file.core_metadata and {"sha256": file.core_metadata}
        assert entry.get("core-metadata") == expected


@repeatable
@given(any_page)
def test_any_page_reads_back_the_same_from_html(page: Page) -> None:
    read = as_html(page)
    assert len(read.packages) == len(page.files)
    for file, package in zip(page.files, read.packages, strict=True):
        assert package.filename == file.filename
        assert package.digests == {"sha256": file.digests["sha256"]}
        assert package.requires_python == shown(file.requires_python)
        assert package.is_yanked == (file.yanked is not None)
        assert package.yanked_reason == shown(file.yanked)
        assert package.provenance_url == (package.url + ".provenance" if file.provenance else None)
        if file.core_metadata is not None:
            assert package.metadata_digests == {"sha256": file.core_metadata}
        else:
            assert not package.has_metadata


@repeatable
@given(
    any_page,
    st.sampled_from(
        ["http://host/simple/six/", "http://h/a/b/simple/six/", "file:///m/simple/six/"]
    ),
)
def test_any_link_resolves_to_the_file_under_any_prefix(page: Page, base: str) -> None:
    root = base.removesuffix("simple/six/")
    links = [entry["url"] for entry in as_json(page)["files"]]
    links += [urldefrag(url)[0] for url in hrefs(page_html(page))]
    for link, file in zip(links, page.files * 2, strict=True):
        assert unquote(urljoin(base, link)) == root + file.path


@repeatable
@given(any_page)
def test_the_same_page_is_the_same_bytes_whatever_the_order_of_its_keys(page: Page) -> None:
    def turned(mapping: dict[str, Any]) -> dict[str, Any]:
        return dict(reversed(mapping.items()))

    files = [
        msgspec.structs.replace(file, digests=turned(file.digests), extra=turned(file.extra))
        for file in page.files
    ]
    same = msgspec.structs.replace(page, files=tuple(files))
    assert page_json(same) == page_json(page)
    assert page_html(same) == page_html(page)


def hrefs(html: bytes) -> list[str]:
    found: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            assert tag in {"html", "head", "meta", "title", "body", "h1", "a", "br"}
            if tag == "a":
                found.append(dict(attributes)["href"] or "")

    Links().feed(html.decode())
    return found


# --- promises -------------------------------------------------------------------------------------


def test_a_file_without_a_proven_sha256_is_never_linked() -> None:
    page = a_page(a_file(digests={"md5": "ab" * 16}))
    with pytest.raises(ValueError, match="no sha256 was proven"):
        page_json(page)
    with pytest.raises(ValueError, match="no sha256 was proven"):
        page_html(page)


def test_what_is_elsewhere_is_linked_there_whatever_the_base() -> None:
    there = Elsewhere("http://127.0.0.1/a?b=1&c='2'", "http://127.0.0.1/provenance")
    page = a_page(a_file(elsewhere=there, provenance=True, size=None))
    decoded = msgspec.json.decode(page_json(page, "http://127.0.0.1:1/"))
    assert decoded["files"] == [
        {"filename": "six-1.16.0.tar.gz", "url": there.url, "hashes": {"sha256": SHA256},
         "yanked": False, "provenance": there.provenance}
    ]  # fmt: skip
    assert hrefs(page_html(page, "http://127.0.0.1:1/")) == [f"{there.url}#sha256={SHA256}"]


@pytest.mark.parametrize(
    "url",
    [
        *("http://me:secret@127.0.0.1/a", "https://token@127.0.0.1/a", "http://@127.0.0.1/a"),
        *("file:///srv/a", "ftp://127.0.0.1/a", "javascript:alert(1)", "//127.0.0.1/a", "a", ""),
    ],
)
def test_no_page_leads_to_a_login_nor_to_what_others_cannot_fetch(url: str) -> None:
    """The last line of defence: nothing of this kind gets here."""
    for page in (
        a_page(a_file(elsewhere=Elsewhere(url))),
        a_page(a_file(elsewhere=Elsewhere("http://127.0.0.1/a", url), provenance=True)),
    ):
        for render in (page_json, page_html):
            with pytest.raises(ValueError, match="no page may link to") as raised:
                render(page)
            assert "secret" not in str(raised.value) and "token" not in str(raised.value)


def test_a_quarantined_project_offers_no_files() -> None:
    page = a_page(a_file(), status=ProjectStatus.QUARANTINED, status_reason="malware")
    assert as_json(page)["files"] == []
    assert as_json(page)["project-status"] == {"status": "quarantined", "reason": "malware"}
    assert as_html(page).packages == []


def test_unknown_keys_are_passed_on() -> None:
    page = a_page(a_file(extra={"x-new": {"b": [1], "a": None}}), extra={"x-page": "kept"})
    assert as_json(page)["x-page"] == "kept"
    assert as_json(page)["files"][0]["x-new"] == {"b": [1], "a": None}


@pytest.mark.parametrize(
    "key",
    [
        *("filename", "url", "hashes", "size", "yanked", "requires-python", "upload-time"),
        *("provenance", "gpg-sig", "core-metadata", "dist-info-metadata"),
        "data-dist-info-metadata",
    ],
)
def test_an_unknown_key_never_makes_a_claim_of_ours(key: str) -> None:
    assert as_json(a_page(a_file(extra={key: "forged"}))) == as_json(a_page(a_file()))


@pytest.mark.parametrize("key", ["meta", "name", "files", "versions", "project-status"])
@pytest.mark.parametrize("version", [(1, 0), (1, 4)])
def test_an_unknown_key_of_a_page_never_makes_a_claim_of_ours(
    key: str, version: tuple[int, int]
) -> None:
    plain = a_page(a_file(), api_version=version)
    assert page_json(msgspec.structs.replace(plain, extra={key: "forged"})) == page_json(plain)


def test_digests_are_named_as_hashlib_names_them() -> None:
    digests = {"sha256": SHA256, "blake2b_256": SHA256, "blake2b": "ab" * 64, "md5": "ab" * 16}
    hashes = as_json(a_page(a_file(digests=digests)))["files"][0]["hashes"]
    assert hashes.keys() == {"sha256", "blake2b", "md5"}


def test_html_in_a_yank_reason_stays_text() -> None:
    reason = '"><script>alert(\'1\')</script><a href="https://evil.example/x.whl">'
    page = a_page(a_file(yanked=reason, requires_python='">='), status_reason=reason)
    assert len(hrefs(page_html(page))) == 1
    assert b"<script" not in page_html(page)
    assert as_html(page).packages[0].yanked_reason == reason


def test_a_control_character_reaches_no_terminal_through_html() -> None:
    html = page_html(a_page(a_file(yanked="\x1b[2J\x00\x85\r\nnext")))
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]", html)
    assert all(b"data-yanked" not in line or b"</a>" in line for line in html.splitlines())


# --- the specification ----------------------------------------------------------------------------


def test_json_says_what_api_1_4_demands() -> None:
    file = a_file(
        requires_python=">=3.8",
        yanked="",
        core_metadata=SHA256,
        upload_time="2021-05-05T14:18:17.237148Z",
        provenance=True,
    )
    assert as_json(a_page(file)) == {
        "meta": {"api-version": "1.4", "_last-serial": 42},
        "name": "six",
        "project-status": {"status": "active"},
        "versions": ["1.16.0"],
        "files": [
            {
                "filename": "six-1.16.0.tar.gz",
                "url": "../../packages/six/six-1.16.0.tar.gz",
                "hashes": {"sha256": SHA256},
                "size": 34041,
                "yanked": True,
                "requires-python": ">=3.8",
                "core-metadata": {"sha256": SHA256},
                "upload-time": "2021-05-05T14:18:17.237148Z",
                "provenance": "../../packages/six/six-1.16.0.tar.gz.provenance",
            }
        ],
    }


def test_html_says_what_the_peps_demand() -> None:
    file = a_file(requires_python=">=3.8", yanked="bad", core_metadata=SHA256, provenance=True)
    page = a_page(file, status=ProjectStatus.ARCHIVED, status_reason="over & out")
    assert page_html(page).decode() == (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="pypi:repository-version" content="1.4">\n'
        '<meta name="pypi:project-status" content="archived">\n'
        '<meta name="pypi:project-status-reason" content="over &amp; out">\n'
        "<title>Links for six</title>\n</head>\n<body>\n<h1>Links for six</h1>\n"
        f'<a href="../../packages/six/six-1.16.0.tar.gz#sha256={SHA256}"'
        ' data-requires-python="&gt;=3.8" data-yanked="bad"'
        f' data-core-metadata="sha256={SHA256}" data-dist-info-metadata="sha256={SHA256}"'
        ' data-provenance="../../packages/six/six-1.16.0.tar.gz.provenance">'
        "six-1.16.0.tar.gz</a><br>\n"
        "</body>\n</html>\n<!--SERIAL 42-->\n"
    )


def test_a_page_says_no_more_than_its_api_version_has() -> None:
    old = a_page(a_file(), api_version=(1, 0), versions=None, serial=None)
    assert as_json(old)["meta"] == {"api-version": "1.0"}
    assert not {"versions", "project-status"} & as_json(old).keys()
    assert "project-status" not in as_json(a_page(api_version=(1, 3)))
    assert b"project-status" not in page_html(a_page(api_version=(1, 3)))
    assert b"SERIAL" not in page_html(old)


def test_a_newer_minor_version_upstream_is_written_as_the_newest_known() -> None:
    page = a_page(a_file(), api_version=(1, 7))
    assert as_json(page)["meta"]["api-version"] == "1.4"
    assert b'content="1.4"' in page_html(page)


def test_versions_are_those_of_the_files_when_an_html_upstream_listed_none() -> None:
    names = ["six-1.9.tar.gz", "six-1.10-py3-none-any.whl", "six-1.9-py3-none-any.whl", "odd.egg"]
    page = a_page(*map(a_file, names), api_version=(1, 1), versions=None)
    assert as_json(page)["versions"] == ["1.9", "1.10"]


def test_meta_comes_first_so_that_a_server_finds_the_serial_at_once() -> None:
    page = page_json(a_page(a_file(), extra={"aaa": 1}))
    assert page.startswith(b'{"meta":{"_last-serial":42,')


# --- root index -----------------------------------------------------------------------------------


def entries(count: int) -> list[RootEntry]:
    return [RootEntry(f"project-{n}", n or None) for n in range(count)]


@pytest.mark.parametrize("count", [0, 1, 2048, 2049, 5000])
def test_the_root_index_lists_every_project_with_its_serial(count: int) -> None:
    chunks = list(root_json(iter(entries(count)), api_version=(1, 4), serial=99))
    read = msgspec.json.decode(b"".join(chunks))
    assert read["meta"] == {"_last-serial": 99, "api-version": "1.4"}
    assert read["projects"] == [
        {"name": f"project-{n}", "_last-serial": n} if n else {"name": "project-0"}
        for n in range(count)
    ]
    html = b"".join(root_html(iter(entries(count)), api_version=(1, 4), serial=99))
    assert hrefs(html) == [f"project-{n}/" for n in range(count)]
    assert html.endswith(b"</html>\n<!--SERIAL 99-->\n")


def test_the_root_index_in_html_has_the_name_as_text() -> None:
    html = b"".join(root_html([RootEntry("six", 1)], api_version=(1, 0), serial=None))
    assert b'<a href="six/">six</a>' in html
    assert b"SERIAL" not in html
    odd = [RootEntry("javascript:<i>", None)]
    assert b'<a href="javascript%3A%3Ci%3E/">javascript:&lt;i&gt;</a>' in b"".join(
        root_html(odd, api_version=(1, 0), serial=None)
    )


@pytest.mark.parametrize("render", [root_json, root_html])
def test_the_root_index_is_written_as_its_entries_come(render: Any) -> None:
    taken: list[int] = []

    def count() -> Any:
        for n in range(100_000):
            taken.append(n)
            yield RootEntry("a", n)

    progress = [len(taken) for _ in render(count(), api_version=(1, 4), serial=1)]
    assert max(after - before for before, after in pairwise(progress)) <= 5000
