"""Fuzz the readers of indexes: any bytes lead to a page that can be trusted, or to a `ReadError`.

    python -m tests.upstream.fuzz_pages [DIRECTORY] [options of libFuzzer: -max_total_time=900]

See `tests.fuzzing`. An input is a byte that chooses a reader, then what the upstream answers.
Besides not failing, it must hold that what is read keeps the promises of `pypimirror.domain.model`,
that its messages are fit for a terminal, and that the pages which this mirror would make of it read
back the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import urlsplit

from tests import fuzzing

with fuzzing.instrumented("pypimirror.upstream", "pypimirror.domain.filenames"):
    from pypimirror.domain.filenames import check_filename, fold, is_distribution
    from pypimirror.upstream import links, listing, read
    from pypimirror.upstream.grouping import project_of

import msgspec
from packaging.utils import canonicalize_name

from pypimirror.domain.model import ALGORITHMS, File, Problem, ProjectName, ProjectPage, ReadError
from pypimirror.render import rendering
from pypimirror.render.pages import Page, PageFile
from tests.upstream.pages import OTHER_SHA, SDIST, SHA, URL, WHEEL, anchor, document, encode, entry
from tests.upstream.pages import page as json_page

PROJECT = "six"

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "text/html; charset=utf-8"
CHARSETS = ("utf-8", "utf-16", "latin-1", "windows-1252", "iso-8859-7", "cp437", "nonsense")


def project_page(content_type: str) -> Callable[[bytes], None]:
    """A project's page with this content type."""

    def run(data: bytes) -> None:
        try:
            page = read.parse_page(data, content_type=content_type, url=URL, project=PROJECT)
        except ReadError as error:
            is_told([error.problem])
        else:
            is_sound(page)
            reads_back(page)

    return run


def odd_charset(data: bytes) -> None:
    """A project's page in HTML, in any encoding."""
    charset = CHARSETS[data[0] % len(CHARSETS)] if data else ""
    project_page(f"text/html; charset={charset}")(data[1:])


def odd_type(data: bytes) -> None:
    """A content type, a line end, and a page that may or may not be of it."""
    content_type, _, body = data.partition(b"\n")
    project_page(content_type.decode("latin-1"))(body)


def project_list(content_type: str) -> Callable[[bytes], None]:
    """A project list with this content type."""

    def run(data: bytes) -> None:
        try:
            found = listing.parse_list(data, content_type, URL)
        except ReadError as error:
            is_told([error.problem])
            return
        for listed in found.projects:
            normalized = canonicalize_name(listed.name, validate=True)
            assert "/" not in normalized and len(normalized) <= 240
            assert listed.serial is None or 0 <= listed.serial < 2**63
        are_words(found.warnings)

    return run


def link_page(data: bytes) -> None:
    """A plain page of links."""
    found = links.parse_links(data, url=URL)
    for file in found.files:
        is_link(file.url)
        are_digests(file.digests)
        project = project_of(file.filename, [ProjectName(PROJECT)])
        assert project is None or canonicalize_name(project, validate=True) == project
    for download in found.downloads:
        is_link(download.url)
        are_digests(download.digests)
    for url in found.pages:
        is_link(url)
    is_told(found.problems)


def marked_page(data: bytes) -> None:
    """What a project page leads to, besides its files."""
    with contextlib.suppress(ReadError):
        found = links.parse_marked(data, content_type="", url=URL)
        for url in found.pages if found else ():
            is_link(url)


def disposition(data: bytes) -> None:
    """A Content-Disposition header, whose name is checked before it is used."""
    name = links.disposition_name(data.decode("latin-1"))
    if check_filename(name, PROJECT) is None:
        is_name(name)


def is_sound(page: ProjectPage) -> None:
    """What everything behind the edge relies on."""
    assert page.project == PROJECT
    assert page.serial is None or 0 <= page.serial < 2**63
    names = [file.filename for file in page.files]
    assert len(names) == len({fold(name) for name in names})
    for file in page.files:
        is_file(file)
    is_told(page.problems)
    are_words(page.warnings)
    # What cannot be stored must have been refused before.
    assert b"\\u0000" not in msgspec.json.encode(page)


def is_file(file: File) -> None:
    """One file of a page."""
    assert check_filename(file.filename, PROJECT) is None
    is_name(file.filename)
    are_digests(file.digests)
    are_digests(file.core_metadata or {})
    assert file.size is None or 0 <= file.size < 2**63
    for url in (file.url, *file.other_urls):
        is_link(url)


def is_name(name: str) -> None:
    """Safe as a component of a path, by other words than the program's."""
    assert name and name not in (".", "..") and not set(name) & set("/\\\0\n\r")
    assert len(name.encode()) < 255 and name == Path(name).name
    assert not name.startswith((".", "-")) and not name.endswith((".metadata", ".provenance"))


def is_link(url: str) -> None:
    """Absolute, http or https, to a host, and nothing in it that could split a request."""
    parts = urlsplit(url)
    assert parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    assert url.isascii() and url.isprintable() and " " not in url and not parts.fragment


def are_digests(digests: dict[str, str]) -> None:
    """Known algorithms, and values of theirs."""
    for algorithm, value in digests.items():
        assert len(bytes.fromhex(value)) == ALGORITHMS[algorithm] and value == value.lower()


def is_told(problems: Iterable[Problem]) -> None:
    """Problems are fit for a terminal and a log line."""
    for problem in problems:
        are_words([problem.message, problem.file, problem.url])
        assert problem.message and len(problem.message) < 4000


def are_words(texts: Iterable[str]) -> None:
    """One line each, without control characters."""
    for text in texts:
        assert text.isprintable(), ascii(text)


def reads_back(page: ProjectPage) -> None:
    """Both pages that this mirror would make of it say the same files and marks."""
    ours = Page(
        project=page.project,
        api_version=page.api_version,
        serial=page.serial,
        status=page.status,
        status_reason=page.status_reason,
        versions=page.versions,
        files=tuple(published(file) for file in page.files),
        extra=page.extra,
    )
    marks = [(f.filename, f.yanked, f.requires_python) for f in page.files]
    as_json, as_html = rendering.page_json(ours), rendering.page_html(ours)
    again = read.parse_page(as_json, content_type=JSON, url=URL, project=PROJECT)
    assert [(f.filename, f.yanked, f.requires_python) for f in again.files] == marks
    assert not again.problems, again.problems
    again = read.parse_page(as_html, content_type=HTML, url=URL, project=PROJECT)
    # JSON says what a file is called; in HTML, only the ending tells a file from another link.
    assert [(f.filename, f.yanked is None) for f in again.files] == [
        (name, yanked is None) for name, yanked, _ in marks if is_distribution(name)
    ]
    assert all(f.digests["sha256"] == OTHER_SHA for f in again.files) and not again.problems


def published(file: File) -> PageFile:
    """A file as our page shows it, once its bytes were proven."""
    return PageFile(
        filename=file.filename,
        path=f"packages/{PROJECT}/{file.filename}",
        digests={"sha256": OTHER_SHA},
        size=1,
        upload_time=file.upload_time,
        requires_python=file.requires_python,
        yanked=file.yanked,
        core_metadata=SHA if file.core_metadata is not None else None,
        provenance=file.provenance,
        extra=file.extra,
    )


TARGETS: list[Callable[[bytes], None]] = [
    project_page(JSON),
    project_page(HTML),
    project_page(""),
    odd_charset,
    odd_type,
    project_list(JSON),
    project_list(HTML),
    link_page,
    marked_page,
    disposition,
]


def seeds() -> list[bytes]:
    """Inputs to start from, at least one for each reader."""
    wheel = {"core_metadata": {"sha256": SHA}, "yanked": "why", "requires_python": ">=3"}
    status = {"project_status": {"status": "archived", "reason": "done"}, "_x": [{}]}
    rich = json_page(entry(), entry(WHEEL, **wheel, size=3), versions=["1.16.0"], **status)
    html = document(
        anchor(f"../../{WHEEL}#sha256={SHA}", WHEEL, data_yanked="", data_core_metadata="true"),
        anchor("/get?id=1", SDIST),
        anchor(f"https://a.example.org:8/{SDIST}#md5={SHA[:32]}", "&lt;x&gt;", rel="internal"),
        head='<base href="/x/"><meta name="pypi:repository-version" content="1.4">'
        '<meta name="pypi:project-status" content="quarantined"><title>a</title>',
    )
    listed = {"meta": {"api-version": "1.1"}, "projects": [{"name": "Six", "_last-serial": 3}]}
    names = document(anchor("six/", "six"), anchor("/simple/zope-interface/", "zope.interface"))
    home = document(
        anchor("home.html", "home", rel="homepage"),
        anchor("?download=1"),
        anchor("/foo-1.0.zip/download"),
        anchor("http://127.0.0.1/foo-1.0.tar.gz"),
    )
    header = b"attachment; filename=\"six-1.zip\"; filename*=UTF-8''six%2D1.zip"
    bodies = [
        [encode(rich)],
        [html],
        [encode(json_page(entry())), html],
        [b"\1" + html.decode().encode("utf-16"), b"\0" + html],
        [b"text/html\n" + html, b"application/vnd.pypi.simple.v2+json\n{}"],
        [encode(listed)],
        [names],
        [home, html],
        [home],
        [header],
    ]
    return [bytes([n]) + body for n, several in enumerate(bodies) for body in several]


_WORDS = (
    *("api-version", "meta", "_last-serial", "project-status", "status", "quarantined", "files"),
    *("filename", "url", "hashes", "sha256", "md5", "blake2b", "yanked", "size", "provenance"),
    *("core-metadata", "requires-python", "upload-time", "2024-01-01T00:00:00Z", "versions"),
    *("<a href=", "</a>", "<base href=", "<meta name=", "content=", "<title>", "<!--", "-->"),
    *("pypi:project-status", "data-yanked", "data-core-metadata", "data-requires-python"),
    *("rel=homepage", "#sha256=", "?download=", "&amp;", "&#47;", "&#x2f;", "%2f", "%00", "..%2f"),
    *("filename*=UTF-8''", "javascript:", "http://", "//host/", "six-1.0.tar.gz", ".whl", ".zip"),
    *("<plaintext>", "<textarea>", "<style>", SHA),
)


WORDS = tuple(word.encode() for word in _WORDS)

one_input = fuzzing.targets(*TARGETS, seconds=5.0)


if __name__ == "__main__":
    fuzzing.run("pages", one_input, seeds(), words=WORDS)
