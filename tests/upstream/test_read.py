"""Which form an answer is read as."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypimirror.domain.model import ProjectPage, ReadError, Reason
from pypimirror.upstream.headers import ACCEPT
from pypimirror.upstream.read import Form, detect, fallback, parse_page
from tests.upstream.pages import (
    SDIST,
    URL,
    anchor,
    assert_invariants,
    document,
    encode,
    entry,
    page,
)

AS_JSON = encode(page(entry()))
AS_HTML = document(anchor(SDIST))


def read(body: bytes, content_type: str) -> ProjectPage:
    parsed = parse_page(body, content_type=content_type, url=URL, project="six")
    assert_invariants(parsed)
    return parsed


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/vnd.pypi.simple.v1+json", AS_JSON),
        ("application/vnd.pypi.simple.latest+json", AS_JSON),
        ("Application/JSON; charset=utf-8", AS_JSON),
        ("application/vnd.pypi.simple.v1+html", AS_HTML),
        ("text/html; charset=UTF-8", AS_HTML),
        ("TEXT/HTML", AS_HTML),
        ("application/xhtml+xml", AS_HTML),
        ("text/html", b"\xef\xbb\xbf\n " + AS_HTML),
    ],
)
def test_content_types(content_type: str, body: bytes) -> None:
    parsed = read(body, content_type)
    assert [file.filename for file in parsed.files] == [SDIST]
    assert parsed.warnings == ()


@pytest.mark.parametrize("content_type", ["", ";", "text/plain", "application/octet-stream", "x\n"])
@pytest.mark.parametrize("body", [AS_JSON, AS_HTML])
def test_missing_or_meaningless_content_type(content_type: str, body: bytes) -> None:
    parsed = read(body, content_type)
    assert [file.filename for file in parsed.files] == [SDIST]
    assert "content type" in parsed.warnings[0] and parsed.warnings[0].isprintable()


@pytest.mark.parametrize(
    ("content_type", "body"), [("text/html", AS_JSON), ("application/json", AS_HTML)]
)
def test_content_type_that_is_belied_by_the_content(content_type: str, body: bytes) -> None:
    parsed = read(body, content_type)
    assert [file.filename for file in parsed.files] == [SDIST]
    assert content_type in parsed.warnings[0]


@pytest.mark.parametrize("body", [b"", b"PK\x03\x04", b"down for maintenance"])
@pytest.mark.parametrize("content_type", ["", "text/plain", "text/html", "application/json"])
def test_neither_json_nor_html(content_type: str, body: bytes) -> None:
    with pytest.raises(ReadError) as error:
        read(body, content_type)
    assert error.value.problem.reason is Reason.BAD_PAGE
    assert error.value.problem.project == "six"


def test_content_type_of_another_major_version() -> None:
    with pytest.raises(ReadError) as error:
        read(AS_JSON, "application/vnd.pypi.simple.v2+json")
    assert error.value.problem.reason is Reason.API_VERSION


def test_an_html_error_page_in_place_of_json() -> None:
    with pytest.raises(ReadError) as error:
        read(document(head="<title>503 Service Unavailable</title>"), "application/json")
    assert error.value.problem.reason is Reason.BAD_PAGE


def test_charset_of_the_content_type() -> None:
    body = document('<a href="six-1%s.zip">').replace(b"%s", "é".encode("latin-1"))
    assert read(body, 'text/html; charset="ISO-8859-1"').files[0].filename == "six-1é.zip"
    assert detect("text/html;charset=utf-8", body, url=URL).charset == "utf-8"


def test_first_bytes() -> None:
    assert fallback(b'\xef\xbb\xbf \r\n{"') is Form.JSON
    assert fallback(b"  <!doctype") is Form.HTML
    assert fallback(b"x<") is None
    assert fallback(b" " * 10_000 + b"{") is None


def test_json_is_asked_for_first() -> None:
    first, *others = ACCEPT.split(", ")
    assert first == "application/vnd.pypi.simple.v1+json"
    assert all(";q=0." in other for other in others)


@given(st.text(max_size=40), st.binary(max_size=60))
def test_any_answer_gives_a_page_or_a_read_error(content_type: str, body: bytes) -> None:
    try:
        read(body, content_type)
    except ReadError:
        return


def test_importing_costs_no_parser_of_html_and_no_http() -> None:
    code = (
        "import sys, pypimirror.upstream.read, pypimirror.upstream.listing\n"
        "heavy = {'bs4', 'pypi_simple', 'requests', 'gevent', 'html.parser', 'prefect',"
        " 'pypimirror.upstream.markup'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr == "" and done.returncode == 0
