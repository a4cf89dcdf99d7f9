"""Project pages in HTML, from PEP 503 to pages of links that were never meant for pip."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypi_simple import ProjectPage as Reference

from pypimirror.domain.model import ProjectPage, ProjectStatus, ReadError, Reason
from pypimirror.upstream import markup
from pypimirror.upstream.html import parse_page
from tests.upstream.pages import (
    OTHER_SHA,
    PAGES,
    SDIST,
    SHA,
    URL,
    WHEEL,
    anchor,
    as_html,
    as_json,
    assert_invariants,
    document,
    reasons,
)
from tests.upstream.test_json import read as read_json

MD5 = "ab" * 16


def read(body: bytes, charset: str | None = None) -> ProjectPage:
    parsed = parse_page(body, url=URL, project="six", charset=charset)
    assert_invariants(parsed)
    return parsed


def names(*links: str) -> list[str]:
    return [file.filename for file in read(document(*links)).files]


def refused(body: bytes) -> Reason:
    with pytest.raises(ReadError) as error:
        read(body)
    assert error.value.problem.message.isprintable()
    return error.value.problem.reason


def refused_link(href: str, text: str = "", **attributes: str) -> str:
    """The reason for which one link was refused; a good one beside it must stay."""
    parsed = read(document(anchor(href, text, **attributes), anchor("six-9.zip")))
    assert [file.filename for file in parsed.files] == ["six-9.zip"]
    (problem,) = parsed.problems
    assert problem.file
    return problem.reason.value


def test_everything_a_page_may_say() -> None:
    parsed = read(
        document(
            anchor(
                f"../../files/{WHEEL}#sha256={SHA}",
                WHEEL,
                data_requires_python=">=2.7,<4",
                data_yanked="it's <b>broken</b> & bad",
                data_core_metadata=f"sha256={OTHER_SHA}",
                data_gpg_sig="true",
                data_provenance="/integrity/six",
                rel="internal",
            ),
            head='<meta name="pypi:repository-version" content="1.4">'
            '<meta name="pypi:project-status" content="deprecated">'
            '<meta name="pypi:project-status-reason" content="use seven">',
        )
        + b"\n<!--SERIAL 23-->\n"
    )
    assert (parsed.project, parsed.name, parsed.api_version) == ("six", "six", (1, 4))
    assert (parsed.status, parsed.status_reason) == (ProjectStatus.DEPRECATED, "use seven")
    assert (parsed.serial, parsed.versions) == (23, None)
    (file,) = parsed.files
    assert file.filename == WHEEL
    assert file.url == f"https://index.example.org/files/{WHEEL}"
    assert file.digests == {"sha256": SHA}
    assert file.requires_python == ">=2.7,<4"
    assert file.yanked == "it's <b>broken</b> & bad"
    assert file.core_metadata == {"sha256": OTHER_SHA}
    assert file.provenance == "https://index.example.org/integrity/six"
    assert not parsed.problems and not parsed.warnings


def test_base_href() -> None:
    head = '<base href="https://cdn.example.org/a/"><base href="https://evil.example.org/">'
    (file,) = read(document(anchor(SDIST), head=head)).files
    assert file.url == f"https://cdn.example.org/a/{SDIST}"
    (file,) = read(document(anchor(SDIST), head='<base href="../x/">')).files
    assert file.url == f"https://index.example.org/simple/x/{SDIST}"


@pytest.mark.parametrize("base", ["file:///etc/", "http://[", "data:x,", "http://u:p@h.example/"])
def test_a_base_that_is_unsafe_or_malformed(base: str) -> None:
    parsed = read(document(anchor(SDIST), head=f'<base href="{base}">'))
    assert parsed.files[0].url == URL + SDIST
    assert "base" in parsed.warnings[0]


@pytest.mark.parametrize(
    ("fragment", "digests"),
    [
        ("", {}),
        ("#", {}),
        ("#egg=six-1.0", {}),
        (f"#md5={'ab' * 16}", {"md5": "ab" * 16}),
        (f"#md5={'AB' * 16}", {"md5": "ab" * 16}),
        (f"#sha256={SHA}&egg=six&md5={'ab' * 16}", {"sha256": SHA, "md5": "ab" * 16}),
        (f"#egg=six&egg=seven&sha256={SHA}", {"sha256": SHA}),
        (f"#sha256%3D{SHA}", {"sha256": SHA}),
        ("#crc32=00", {}),
        (f"#blake2b={SHA}", {"blake2b_256": SHA}),
        (f"#sha256-{SHA}", {"sha256": SHA}),  # as Gitea writes it
        (f"#egg=six&SHA256:{SHA.upper()}", {"sha256": SHA}),
        ("#section-2", {}),
    ],
)
def test_any_fragment_or_none(fragment: str, digests: dict[str, str]) -> None:
    (file,) = read(document(anchor(SDIST + fragment))).files
    assert file.digests == digests
    assert file.url == URL + SDIST


@pytest.mark.parametrize("value", ["", "00", SHA + "00", "x" * 64, SHA[:-1] + "%00"])
def test_bad_digest(value: str) -> None:
    assert refused_link(f"{SDIST}#sha256={value}") == "bad-digest"


def test_a_bad_digest_of_core_metadata_costs_no_wheel() -> None:
    parsed = read(document(anchor(WHEEL, data_core_metadata="sha256=xyz")))
    assert parsed.files[0].core_metadata is None
    assert "core metadata" in parsed.warnings[0]


def test_one_link_with_two_digests_of_one_kind() -> None:
    assert refused_link(f"{SDIST}#sha256={SHA}&sha256={OTHER_SHA}") == "digest-conflict"


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, None),
        ({"data_core_metadata": "true"}, {}),
        ({"data_core_metadata": "false"}, None),
        ({"data_core_metadata": ""}, None),
        ({"data_dist_info_metadata": f"sha256={SHA}"}, {"sha256": SHA}),
        ({"data_dist_info_metadata": "true", "data_core_metadata": f"md5={MD5}"}, {"md5": MD5}),
    ],
)
def test_core_metadata(attributes: dict[str, str], expected: dict[str, str] | None) -> None:
    assert read(document(anchor(WHEEL, **attributes))).files[0].core_metadata == expected


def test_yanked_without_a_reason() -> None:
    parsed = read(document(f"<a href={SDIST} data-yanked>x</a><a href={WHEEL}>y</a>"))
    assert [file.yanked for file in parsed.files] == ["", None]


@pytest.mark.parametrize(
    ("href", "name"),
    [
        ("torch-1.zip", None),
        ("six-1.0%2Blocal.tar.gz", "six-1.0+local.tar.gz"),
        ("six-1.0+local.tar.gz", "six-1.0+local.tar.gz"),
        ("%73ix-1.0.zip", "six-1.0.zip"),
        ("/get/six-1.0.zip?token=a/b", "six-1.0.zip"),
        ("/get?file=six-0.zip", "six-2.0.zip"),
        ("/get/77", "six-2.0.zip"),
        ("six-1.0.EXE", "six-1.0.EXE"),
    ],
)
def test_the_name_is_the_path_s_and_else_the_text_s(href: str, name: str | None) -> None:
    parsed = read(document(anchor(href, "six-2.0.zip")))
    assert [file.filename for file in parsed.files] == ([name] if name else [])


@pytest.mark.parametrize(
    ("href", "text"),
    [
        ("../", "Parent Directory"),
        ("?C=N;O=D", "Name"),
        ("#top", "top"),
        ("", SDIST),
        ("six-1.0.tar.gz/", SDIST),
        ("mailto:six@example.org", "mail"),
        ("javascript:void(0)", "menu"),
        ("https://example.org/", "home page"),
        (f"{SDIST}.asc", SDIST),
        (f"{SDIST}.asc", "signature"),
        (f"{WHEEL}.metadata", WHEEL),
        (f"{SDIST}.sha256", SDIST),
        ("six-1.0.html", "x"),
        ("http://[", "x"),
    ],
)
def test_other_links_are_passed_over(href: str, text: str) -> None:
    parsed = read(document(anchor(href, text), anchor("six-9.zip")))
    assert [file.filename for file in parsed.files] == ["six-9.zip"]
    assert parsed.problems == ()


@pytest.mark.parametrize(
    "href",
    [
        "..%2f..%2fsix-1.0.tar.gz",
        "%2e%2e%2fsix-1.0.tar.gz",
        "%2Fetc%2Fsix-1.0.tar.gz",
        "six-%252e%252e%252f1.0.tar.gz",
        "six-1.0%00.tar.gz",
        "six-1.0%0a.tar.gz",
        "six-1.0%ff.tar.gz",
        "six\\six-1.0.tar.gz",
        ".six-1.0.tar.gz",
        "-six-1.0.tar.gz",
        "six-" + "1" * 300 + ".tar.gz",
    ],
)
def test_unsafe_names(href: str) -> None:
    assert refused_link(href) == "unsafe-name"


def test_name_of_a_different_project() -> None:
    assert refused_link("seven-1.0.zip") == "wrong-project"


@pytest.mark.parametrize(
    ("href", "text"),
    [
        ("javascript:alert(1)//six-1.0.zip", ""),
        ("javascript:alert(1)", SDIST),
        ("data:application/six-1.0.zip", ""),
        ("data:application/gzip,x", SDIST),
        ("file:///srv/six-1.0.zip", ""),
        ("https://user:pass@files.example.org/six-1.0.zip", ""),
        ("ftp://files.example.org/six-1.0.zip", ""),
        ("http://[/six-1.0.zip", ""),
        ("&#106;ava&#x0a;script:1/six-1.0.zip", ""),
    ],
)
def test_unsafe_url(href: str, text: str) -> None:
    parsed = read(document(f'<a href="{href}">{text}</a>', anchor("six-9.zip")))
    assert [file.filename for file in parsed.files] == ["six-9.zip"]
    assert reasons(parsed.problems) == ["unsafe-url"]


def test_duplicates() -> None:
    same, other = f"{SDIST}#sha256={SHA}", f"{SDIST}#sha256={OTHER_SHA}"
    assert names(anchor(same), anchor(f"/b/{same}"), anchor(SDIST)) == [SDIST]
    parsed = read(document(anchor(same), anchor(other), anchor(WHEEL)))
    assert [file.filename for file in parsed.files] == [WHEEL]
    assert reasons(parsed.problems) == ["digest-conflict"]
    parsed = read(document(anchor("six-1.zip"), anchor("SIX-1.zip")))
    assert reasons(parsed.problems) == ["duplicate-name"]


def test_unknown_versions() -> None:
    head = '<meta name="pypi:repository-version" content="{}">'
    assert refused(document(head=head.format("2.0"))) is Reason.API_VERSION
    assert refused(document(head=head.format("x"))) is Reason.BAD_PAGE
    assert "1.9" in read(document(head=head.format("1.9"))).warnings[0]


def test_quarantined_project_has_no_files() -> None:
    head = '<meta name="pypi:project-status" content="quarantined">'
    parsed = read(document(anchor(SDIST), anchor("../six%00.zip"), head=head))
    assert parsed.status is ProjectStatus.QUARANTINED
    assert parsed.files == () and parsed.problems == ()


def test_names_of_meta_tags_are_in_any_case() -> None:
    head = '<META NAME="PyPI:Project-Status" CONTENT="quarantined">'
    assert read(document(anchor(SDIST), head=head)).files == ()


def test_unknown_status_is_active_with_a_warning() -> None:
    parsed = read(document(head='<meta name="pypi:project-status" content="asleep">'))
    assert parsed.status is ProjectStatus.ACTIVE
    assert "asleep" in parsed.warnings[0]


@pytest.mark.parametrize(
    "title",
    [
        *("Links for six", "Index of /simple/six/", "Directory listing", "Simple index"),
        *("Directory listing for /simple/six/", "root/dev: links for six", "/simple/six/"),
        *("Directory: /simple/six/", "listing directory /simple/six", "Six index", "index"),
        *("host - /simple/six/", "Index of six/"),
    ],
)
def test_a_page_without_links_is_an_empty_project(title: str) -> None:
    parsed = read(document("<h1>x</h1>", head=f"<title>{title}</title>"))
    assert parsed.files == () and parsed.warnings == ()


def test_a_page_that_nothing_shows_to_be_an_index_is_refused() -> None:
    with pytest.raises(ReadError, match="no links to files"):
        read(document(head="<title>Welcome</title>"))
    assert read(document(anchor(SDIST), head="<title>Welcome</title>")).warnings == ()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  \n",
        b"Service Unavailable",
        b"\x1f\x8b\x08\0\0\0",
        document(head="<title>404 Not Found</title>"),
        document(head="<title>502 Bad Gateway</title>"),
        document(head="<title>Sign in &middot; Example</title>"),
        document('<form action="/login"><input type="password"></form>'),
        document(anchor("/help", "help"), head="<title>Internal Server Error</title>"),
        document(anchor("/help", "Help"), head="<title>Simple HR</title>"),
        document(head="<title>Index Exchange</title>"),
        document('<div id="app"></div><script src="/app.js"></script>'),
        document('<script src="/a.js"></script>', head="<title>Simple index</title>"),
        document('<input type="Password" name=p>', head="<title>Simple index</title>"),
    ],
)
def test_a_page_that_is_no_index(body: bytes) -> None:
    assert refused(body) is Reason.BAD_PAGE


def test_a_sign_in_page_is_called_one_with_the_next_step() -> None:
    with pytest.raises(ReadError, match="sign-in page, with the title 'Simple HR'; give"):
        read(document("<input type=password>", head="<title>Simple HR</title>"))


@pytest.mark.parametrize("name", ["login", "sso-client", "error-404", "maintenance"])
def test_the_name_of_a_project_makes_no_index_a_page_for_people(name: str) -> None:
    spelled = name.replace("-", "_").title()
    body = document(head=f"<title>Links for {spelled}</title>")
    assert parse_page(body, url=URL, project=name).files == ()
    with pytest.raises(ReadError, match="no index"):
        parse_page(document(head="<title>404 Not Found</title>"), url=URL, project=name)


def test_an_index_may_have_a_form_and_a_project_a_name_like_an_error() -> None:
    assert read(document("<form></form>", anchor(SDIST))).files
    head = '<title>Links for error-404</title><meta name="pypi:repository-version" content="1.0">'
    assert read(document(head=head)).files == ()


@pytest.mark.parametrize(
    ("body", "charset"),
    [
        ("six-1.0é.zip".encode(), None),
        ("six-1.0é.zip".encode("latin-1"), "iso-8859-1"),
        (b"\xff\xfe" + f"<a href='{SDIST}'>".encode("utf-16-le"), None),
        ("six-1.0é.zip".encode(), "unicode_escape"),
        ("six-1.0é.zip".encode(), "utf-99"),
    ],
)
def test_encodings(body: bytes, charset: str | None) -> None:
    page = body if body.startswith(b"\xff") else document('<a href="%s">').replace(b"%s", body)
    (file,) = read(page, charset).files
    assert file.filename in (SDIST, "six-1.0é.zip")


# How browsers and parsers of HTML read odd markup; the links that count are to six-1.zip.
MARKUP = [
    ("<A HREF='six-1.zip'>", True),
    ("<a\n\thref\n=\nsix-1.zip\n>", True),
    ("<a/href=six-1.zip>", True),
    ("<a href=six-1.zip href=six-2.zip>", True),
    ("<a name=x\"y href='six-1.zip'>", True),
    ("<a data-requires-python='>3,<4' href=six-1.zip>", True),
    ("<p title='<a'><a href=six-1.zip>", True),
    ("<a href='six-1.zip'", False),
    ("<abbr href=six-1.zip>", False),
    ("<!-- <a href=six-1.zip> -->", False),
    ("<!--> <a href=six-1.zip> -->", True),
    ("<!-- --!> <a href=six-1.zip>", True),
    ("<!-- <a href=six-1.zip>", False),
    ("<![CDATA[ <a href=six-1.zip> ]]>", False),
    ("<![CDATA[ > <a href=six-1.zip> ]]>", True),
    ("<?php <a href=six-1.zip>", False),
    ("<script>'<a href=six-1.zip>'</script>", False),
    ("<script>'</scripts><a href=six-1.zip>'</script>", False),
    ("<script></SCRIPT ><a href=six-1.zip>", True),
    ("<title><a href=six-1.zip></title>", False),
    ("<textarea><a href=six-1.zip>", False),
    ("<div title='<a href=six-1.zip>'>", False),
    ('<div title="\'"><a href=six-1.zip title="\'">', True),
    ("< a href=six-1.zip>", False),
    ("</a href=six-1.zip>", False),
    ("1 < 2 <a href=six-1.zip>", True),
    ("<a href=six-1.zi&#112;>", True),
    ("<a href=six-1.zi&#x70;>", True),
    ("<plaintext><a href=six-1.zip>", False),
]


INDEX = b"<html><title>Links for six</title>"


@pytest.mark.parametrize(("source", "found"), MARKUP)
def test_odd_markup(source: str, found: bool) -> None:
    expected = ["six-1.zip"] if found else []
    assert [file.filename for file in read(INDEX + source.encode()).files] == expected


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("a&amp;b&lt;&gt;&quot;&#39;", "a&b<>\"'"),
        ("?a=1&copy=2&lt=3", "?a=1&copy=2&lt=3"),
        ("&copyright &copyright; &copy", "&copyright &copyright; \u00a9"),
        ("&#0;&#xD800;&#99999999;", "\ufffd\ufffd\ufffd"),
        ("&#" + "1" * 5000, None),
        ("&unknown; & &;", "&unknown; & &;"),
    ],
)
def test_references(source: str, text: str | None) -> None:
    replaced = markup.unescaped(source)
    assert text is None or replaced == text


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_nul_is_replaced(mark: bytes) -> None:
    parsed = read(mark + document(anchor(SDIST, data_yanked="a\0b"), anchor("six-1\0.zip")))
    assert [file.yanked for file in parsed.files] == ["a\ufffdb"]
    assert reasons(parsed.problems) == ["unsafe-name"]


def test_link_text_is_without_tags() -> None:
    source = "<a href=/get/1> <b>six</b>-1.0<i>.zip</i> </a> tail<a href=/get/2>six-2.0.zip<a>"
    assert names(source) == ["six-1.0.zip", "six-2.0.zip"]


PATHOLOGICAL = [
    *("<!--", "<a ", "<", "</", "<?", "<!", "<![CDATA[", "<div>", "<a href=x>", "<script>"),
    *("<title></title>", "<script></", "<a x='\"", '<a ="', "<b a =", "&", "<a><b>", "<a x='' "),
]


@pytest.mark.parametrize("piece", PATHOLOGICAL)
def test_a_reader_that_looks_back_would_not_end(piece: str) -> None:
    """Parsers whose time grows with the square of the page need hours for this, not a second."""
    read(INDEX + piece.encode() * 200_000)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_page_or_a_read_error(body: bytes) -> None:
    survives(body)


PIECES = st.sampled_from(
    [piece for piece, _ in MARKUP]
    + PATHOLOGICAL
    + [anchor(f"{SDIST}#sha256={SHA}"), anchor(f"{SDIST}#sha256={OTHER_SHA}"), "'", '"', ">", "\0"]
    + ['<base href="http://u@h/">', '<meta name="pypi:project-status" content="x\0">', "-->"]
)


@settings(max_examples=300)
@given(st.lists(PIECES | st.text(max_size=10), max_size=12))
def test_any_markup_gives_a_page_or_a_read_error(pieces: list[str]) -> None:
    survives(b"<html>" + "".join(pieces).encode("utf-8", "replace"))


def survives(body: bytes) -> None:
    try:
        parsed = parse_page(body, url=URL, project="six")
    except ReadError:
        return
    assert_invariants(parsed)


@given(PAGES)
def test_both_forms_of_a_page_say_the_same(written: ProjectPage) -> None:
    parsed = read(as_html(written))
    assert parsed.files == written.files
    assert parsed.files == read_json(as_json(written)).files


@settings(max_examples=40)
@given(PAGES)
def test_what_another_reader_finds(written: ProjectPage) -> None:
    """pypi-simple reads a whole tree; on well-formed pages it must come to the same links."""
    body = as_html(written)
    found = Reference.from_html("six", body, URL, "utf-8").packages
    assert [(file.url, file.requires_python, file.yanked) for file in read(body).files] == [
        (other.url, other.requires_python, other.yanked_reason) for other in found
    ]


def test_what_is_of_a_variant_is_left_out_quietly() -> None:
    odd = ["six-1.0-variants.json", "six-1.0-py3-none-any-x86_64_v3.whl"]
    links = [f'<a href="{name}">{name}</a>' for name in ["six-1.0.tar.gz", *odd]]
    found = read(document(*links))
    assert [file.filename for file in found.files] == ["six-1.0.tar.gz"]
    assert found.left_out == (odd[1],), "the other is no link to a file"
    assert not found.problems
    assert not found.warnings
