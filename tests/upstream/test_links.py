"""Plain pages of links: `pypimirror.upstream.links`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypimirror.domain.model import LinkPage, Reason
from pypimirror.upstream.links import disposition_name, name_of, parse_links, parse_marked

URL = "http://host/files/links.html"
SHA256 = "ab" * 32
MD5 = "cd" * 16


def read(*links: str, url: str = URL, head: str = "") -> LinkPage:
    body = f"<html><head>{head}</head><body>{' '.join(links)}</body></html>"
    return parse_links(body.encode(), url=url)


def link(href: str, text: str = "here", **attributes: str) -> str:
    more = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in attributes.items())
    return f'<a href="{href}"{more}>{text}</a>'


# What a link is


@pytest.mark.parametrize(
    ("href", "name", "url"),
    [
        ("six-1.0.tar.gz", "six-1.0.tar.gz", "http://host/files/six-1.0.tar.gz"),
        ("../../up/six-1.0.zip", "six-1.0.zip", "http://host/up/six-1.0.zip"),
        ("//cdn/a/six-1.0.zip", "six-1.0.zip", "http://cdn/a/six-1.0.zip"),
        ("https://cdn/six-1.0.zip?x=1", "six-1.0.zip", "https://cdn/six-1.0.zip?x=1"),
        ("six-1.0%2Blocal.tar.gz", "six-1.0+local.tar.gz", "http://host/files/six-1.0%2Blocal.tar.gz"),
    ],
)  # fmt: skip
def test_a_path_that_ends_with_the_name_of_a_distribution_is_a_file(
    href: str, name: str, url: str
) -> None:
    (file,) = read(link(href)).files
    assert (file.filename, file.url) == (name, url)


def test_a_link_has_the_digests_and_marks_that_project_pages_have() -> None:
    page = read(
        link(f"a-1.zip#sha256={SHA256}"),
        link(f"b-1.zip#md5={MD5}", data_requires_python="&gt;=3", data_yanked="bad"),
        link("c-1.zip#egg=c-dev"),
    )
    assert [file.digests for file in page.files] == [{"sha256": SHA256}, {"md5": MD5}, {}]
    assert (page.files[1].requires_python, page.files[1].yanked) == (">=3", "bad")


def test_every_link_to_a_name_is_kept() -> None:
    page = read(link("http://a/six-1.0.zip"), link("http://b/six-1.0.zip"))
    assert [file.url for file in page.files] == ["http://a/six-1.0.zip", "http://b/six-1.0.zip"]


@pytest.mark.parametrize(
    ("href", "reason"),
    [
        ("ftp://host/six-1.0.zip", Reason.UNSAFE_URL),
        ("file:///etc/six-1.0.zip", Reason.UNSAFE_URL),
        ("http://user:pw@host/six-1.0.zip", Reason.UNSAFE_URL),
        ("six-1.0.zip#sha256=beef", Reason.BAD_DIGEST),
    ],
)
def test_a_link_to_a_file_that_cannot_be_used_is_a_problem_with_its_name(
    href: str, reason: Reason
) -> None:
    page = read(link(href))
    assert page.files == ()
    assert [(p.reason, p.file) for p in page.problems] == [(reason, "six-1.0.zip")]


@pytest.mark.parametrize(
    ("href", "text"),
    [
        ("/get?download=3", "here"),
        ("/get.php?action=download&id=3", "here"),
        ("/get?id=3", "six-1.0.zip"),
        ("/projects/six-1.0.zip/download", "here"),
    ],
)
def test_a_download_without_a_name_waits_for_its_answer(href: str, text: str) -> None:
    page = read(link(f"{href}#md5={MD5}", text))
    assert [(d.url, d.digests) for d in page.downloads] == [(f"http://host{href}", {"md5": MD5})]
    assert (page.files, page.pages) == ((), ())


@pytest.mark.parametrize(
    "href", ["more.html", "/six/", "/six", "http://other/", "list.php?id=3", "/six/1.0", "?page=2"]
)
def test_what_looks_like_a_page_is_one(href: str) -> None:
    assert len(read(link(href)).pages) == 1


@pytest.mark.parametrize(
    "href",
    [
        *("", "#top", "links.html", "links.html#a", "?C=M;O=A", "?C=N&O=D", "?N=D"),
        *("../", "./", "/", "mailto:a@b", "javascript:x()", "ftp://host/dir/", "data:text/html,x"),
        *("logo.png", "README.txt", "six-1.0.tar.gz.asc", "style.css"),
    ],
)
def test_navigation_and_other_things_are_nothing(href: str) -> None:
    assert read(link(href)) == LinkPage()


def test_links_are_relative_to_the_first_base_unless_that_is_unsafe() -> None:
    page = read(link("six-1.0.zip"), head='<base href="/x/"><base href="/y/">')
    assert page.files[0].url == "http://host/x/six-1.0.zip"
    page = read(link("six-1.0.zip"), head='<base href="file:///x/">')
    assert page.files[0].url == "http://host/files/six-1.0.zip"


def test_a_page_and_a_download_linked_twice_are_asked_once() -> None:
    page = read(*[link("a.html"), link("/g?download=1")] * 2)
    assert (len(page.pages), len(page.downloads)) == (1, 1)


def test_a_login_in_the_address_of_the_page_is_in_no_link() -> None:
    page = read(link("six-1.0.zip"), link("a.html"), url="http://me:secret@host/")
    assert "secret" not in repr(page)


@given(st.binary(max_size=400))
def test_no_bytes_break_it(body: bytes) -> None:
    parse_links(body, url=URL)


# Project pages


def marked(*links: str, content_type: str = "text/html") -> LinkPage | None:
    return parse_marked("".join(links).encode(), content_type=content_type, url=URL)


def test_of_a_project_page_only_marked_pages_and_nameless_downloads_lead_on() -> None:
    page = marked(
        link("six-1.0.zip"),
        link("help.html"),
        link("http://home/", rel="homepage"),
        link("http://home/dl/", rel="Download nofollow"),
        link("/get?download=1"),
        link("/get?id=2&download=1", text="six-1.1.zip"),  # the project page knows its name
    )
    assert page is not None
    assert page.pages == ("http://home/", "http://home/dl/")
    assert [download.url for download in page.downloads] == ["http://host/get?download=1"]
    assert page.files == ()


def test_a_project_page_in_json_leads_nowhere() -> None:
    assert marked("{}", content_type="application/vnd.pypi.simple.v1+json") is None


# Names of answers


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("attachment; filename=six-1.0.zip", "six-1.0.zip"),
        ('attachment; filename="six-1.0.zip"', "six-1.0.zip"),
        ('ATTACHMENT ; FileName = "six-1.0.zip"', "six-1.0.zip"),
        (r'attachment; filename="a\"b\\c.zip"', r"a\"b\c.zip".replace("\\", "", 1)),
        ('attachment; size=3; filename="six 1.0.zip"; x=y', "six 1.0.zip"),
        ("attachment; filename=old.zip; filename*=UTF-8''n%C3%A4w.zip", "näw.zip"),
        ("attachment; filename*=iso-8859-1'de'n%E4w.zip", "näw.zip"),
        ("attachment; filename*=UTF-8''%ff.zip; filename=old.zip", "old.zip"),
        ("attachment; filename*=utf-7''x.zip; filename=old.zip", "old.zip"),
        ('attachment; name="x; filename=evil.zip"; filename=six-1.0.zip', "six-1.0.zip"),
        ('attachment; filename="näw.zip"'.encode().decode("latin-1"), "näw.zip"),
        ('attachment; filename="näw.zip"', "näw.zip"),
        ('attachment; filename="../../six-1.0.zip"', "../../six-1.0.zip"),
        ("attachment; filename=six%201.0.zip", "six%201.0.zip"),
        ("attachment", ""),
        ("", ""),
        ("filename=six-1.0.zip", ""),
        ('attachment; filename=""', ""),
    ],
)
def test_the_name_in_a_content_disposition(header: str, name: str) -> None:
    assert disposition_name(header) == name


def test_the_address_names_what_the_header_does_not() -> None:
    assert name_of("inline", "http://host/a/six-1.0%2Bx.zip?y=z") == "six-1.0+x.zip"
    assert name_of("inline; filename=b.zip", "http://host/a.zip") == "b.zip"


@given(st.text(alphabet="a;=\"\\ *'%filename", max_size=200))
def test_no_header_breaks_it(header: str) -> None:
    disposition_name(f"attachment;{header}")
