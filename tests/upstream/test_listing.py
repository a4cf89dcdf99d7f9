"""Project lists: both forms, and lists that are not as they should be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import canonicalize_name, is_normalized_name

from pypimirror.domain.model import ProjectList, ReadError, Reason
from pypimirror.upstream.listing import parse_list
from tests.upstream.pages import anchor, document, encode
from tests.upstream.test_json import VALUES

URL = "https://index.example.org/simple/"
JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"


def listing(*projects: Any, **keys: Any) -> bytes:
    return encode({"meta": {"api-version": "1.4"}, "projects": list(projects), **keys})


def read(body: bytes, content_type: str = JSON) -> ProjectList:
    listed = parse_list(body, content_type, URL)
    for project in listed.projects:
        assert is_normalized_name(canonicalize_name(project.name))
        assert len(project.name) <= 240
        assert project.serial is None or 0 <= project.serial < 2**63
    return listed


def names(body: bytes, content_type: str = JSON) -> list[str]:
    return [project.name for project in read(body, content_type).projects]


def refused(body: bytes, content_type: str = JSON) -> Reason:
    with pytest.raises(ReadError) as error:
        read(body, content_type)
    assert error.value.problem.message.isprintable()
    return error.value.problem.reason


def test_json_with_serials() -> None:
    body = listing(
        {"name": "Six", "_last-serial": 7, "other": [1]},
        {"name": "zope.interface"},
        meta={"api-version": "1.3", "_last-serial": 9},
    )
    listed = read(body)
    assert [(project.name, project.serial) for project in listed.projects] == [
        ("Six", 7),
        ("zope.interface", None),
    ]
    assert (listed.api_version, listed.serial, listed.warnings) == ((1, 3), 9, ())


def test_an_empty_list_is_a_list() -> None:
    assert names(listing()) == []


def test_unknown_versions() -> None:
    assert refused(listing(meta={"api-version": "2.0"})) is Reason.API_VERSION
    assert refused(encode({"meta": {"api-version": "3.1"}, "list": 1})) is Reason.API_VERSION
    assert "1.8" in read(listing(meta={"api-version": "1.8"})).warnings[0]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"{}", b'{"projects": []}', b"[" * 100_000,
     b'{"meta": {"api-version": "1.0"}}', b'{"meta": {"api-version": "1.0"}, "projects": {}}',
     b'{"meta": {"api-version": "1.0"}, "projects": ["six"]}',
     b'{"meta": {"api-version": "1.0"}, "projects": [{"name": "\xff"}]}'],
)  # fmt: skip
def test_a_list_that_cannot_be_read(body: bytes) -> None:
    assert refused(body) is Reason.BAD_PAGE


@pytest.mark.parametrize("stated", [{}, {"meta": {}}, {"meta": None}])
def test_a_list_of_no_stated_version_is_one_with_a_warning_where_it_has_projects(
    stated: dict[str, Any],
) -> None:
    found = read(encode({**stated, "projects": [{"name": "six"}]}))
    assert [project.name for project in found.projects] == ["six"]
    assert found.api_version == (1, 0)
    assert "no API version" in found.warnings[0]
    assert refused(encode({**stated, "projects": []})) is Reason.BAD_PAGE


@pytest.mark.parametrize(
    "entry",
    [None, 5, "seven", [], {}, {"name": None}],
)
def test_a_malformed_entry_costs_only_itself(entry: Any) -> None:
    listed = read(listing({"name": "six", "_last-serial": 3}, entry, {"name": "nine"}))
    assert [(project.name, project.serial) for project in listed.projects] == [
        ("six", 3),
        ("nine", None),
    ]
    assert listed.warnings[0] == "malformed: 1 entry of the list"


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../six", "/six", "a/b", "a\\b", ".six", "-six", "six-", "six\n", "si\0x",
     "a b", "s\u00efx", "six%2f", "\u212aiwi", "x" * 241, "six;", "<b>"],
)  # fmt: skip
def test_a_name_that_is_no_project_s(name: str) -> None:
    listed = read(listing({"name": "six"}, {"name": name}, {"name": "nine"}))
    assert [project.name for project in listed.projects] == ["six", "nine"]
    assert len(listed.warnings) == 1 and listed.warnings[0].isprintable()
    link = f'<a href="{name}/">{name}</a>'
    assert names(document(anchor("six/", "six"), link), HTML) == ["six"]


@pytest.mark.parametrize("serial", [-1, 2**63, 2**70])
def test_a_serial_out_of_range_is_left_out(serial: int) -> None:
    listed = read(
        listing({"name": "six", "_last-serial": serial}, {"name": "a", "_last-serial": 1})
    )
    assert [project.serial for project in listed.projects] == [None, 1]
    assert listed.warnings


def test_html_of_an_index() -> None:
    head = '<meta name="pypi:repository-version" content="1.1"><title>Simple index</title>'
    body = document(
        anchor("/simple/six/", "Six"),
        anchor("zope-interface/", "zope.interface"),
        anchor("https://other.example.org/simple/nine", "nine"),
        anchor("/simple/six/", "Six"),
        head=head,
    )
    listed = read(body, HTML)
    assert [project.name for project in listed.projects] == ["Six", "zope.interface", "nine"]
    assert listed.api_version == (1, 1)


def test_html_of_a_directory() -> None:
    body = document(
        anchor("?C=N;O=D", "Name"),
        anchor("../", "Parent Directory"),
        anchor("six/", "six/"),
        anchor("a-project-with-a-long-name/", "a-project-with-a-lo..>"),
        anchor("/about/", "What this is"),
        anchor("mailto:someone@example.org", "someone"),
        head="<title>Index of /simple/</title>",
    )
    assert names(body, "text/html") == ["six", "a-project-with-a-long-name"]


def test_what_a_web_server_lists_beside_the_projects_is_none() -> None:
    """The trail of links above a list, as Caddy writes it, and files."""
    where = "https://a.example.org/py/index/"
    trail = (anchor("/", "/"), anchor("/py/", "py"), anchor("/py/index/", "index"))
    beside = (anchor("README.txt", "README.txt"), anchor("./robots.txt", "robots.txt"))
    found = (anchor("./six/", "six/"), anchor("./zope.event/", "zope.event/"))
    body = document(*trail, *beside, *found)
    listed = parse_list(body, HTML, where)
    assert [project.name for project in listed.projects] == ["six", "zope.event"]
    assert listed.warnings == ("left out: 2 links to files beside the projects",)
    bare = document(anchor("six", "six"), anchor("zope.event", "zope.event"))  # as GitLab links
    assert [p.name for p in parse_list(bare, HTML, where).projects] == ["six", "zope.event"]
    pages = document(anchor("six/index.html", "six"), anchor("a.b/index.html", "a.b"))
    assert [p.name for p in parse_list(pages, HTML, where).projects] == ["six", "a.b"]


def test_html_that_is_no_list() -> None:
    assert refused(document(head="<title>Down</title>"), HTML) is Reason.BAD_PAGE
    assert refused(b"down", HTML) is Reason.BAD_PAGE
    head = '<meta name="pypi:repository-version" content="1.0">'
    assert names(document(head=head), HTML) == []
    assert refused(document(head=head.replace("1.0", "2.0")), HTML) is Reason.API_VERSION


HELP = anchor("/help", "Help")
SIGN_IN = "<form action=/login><input name=user><input type=password name=p></form>"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (document(HELP, SIGN_IN, head="<title>Simple</title>"), "a sign-in page"),
        (document("<input type='PASSWORD'>", anchor("/terms/", "terms")), "a sign-in page"),
        (document(HELP, head="<title>Log in to Example</title>"), "a sign-in page"),
        (document(SIGN_IN), "a sign-in page"),
        (document(HELP, "<form method=post action=/saml></form>"), "if it asks to sign in, give"),
        (document(HELP, head="<title>503 Service Unavailable</title>"), "check `url`"),
        (document("<script src=app.js></script>", head="<title>Simple</title>"), "of scripts"),
    ],
)
def test_a_page_for_people_is_no_list_whatever_it_links_to(body: bytes, told: str) -> None:
    """A gateway answers with its sign-in page, status 200; "Help" would be a project."""
    with pytest.raises(ReadError) as error:
        read(body, HTML)
    assert error.value.problem.reason is Reason.BAD_PAGE
    assert told in error.value.problem.message and "[[upstream]]" in error.value.problem.message


@pytest.mark.parametrize("href", ["six/", "six", "/simple/six/", "six/index.html", URL + "six/"])
def test_a_list_may_have_forms_fields_for_passwords_and_scripts_beside_its_links(href: str) -> None:
    search = "<form><input type=search></form><script></script>"
    for beside in (SIGN_IN, search, "<title>Error log of the index</title>"):
        assert names(document(anchor(href, "six"), beside), HTML) == ["six"]
    stated = '<meta name="pypi:repository-version" content="1.0">'
    elsewhere = anchor("https://b.example.org/six/", "six")
    assert names(document(elsewhere, SIGN_IN, head=stated), HTML) == ["six"]
    assert names(document(elsewhere, "<script></script>"), HTML) == ["six"]


def test_a_wrong_content_type_is_told() -> None:
    listed = read(listing({"name": "six"}), "text/html")
    assert [project.name for project in listed.projects] == ["six"]
    assert "text/html" in listed.warnings[0]


def survives(body: bytes, content_type: str) -> None:
    try:
        read(body, content_type)
    except ReadError:
        return


@given(st.binary(max_size=200), st.sampled_from([JSON, HTML, ""]))
def test_any_bytes_give_a_list_or_a_read_error(body: bytes, content_type: str) -> None:
    survives(body, content_type)


@given(
    st.fixed_dictionaries(
        {"meta": st.just({"api-version": "1.0"}) | VALUES},
        optional={"projects": st.lists(st.fixed_dictionaries({"name": VALUES}) | VALUES) | VALUES},
    )
)
def test_any_json_gives_a_list_or_a_read_error(body: Any) -> None:
    survives(encode(body), JSON)


NAMES = st.lists(
    st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,9}[A-Za-z0-9])?", fullmatch=True), unique=True
)


@given(NAMES)
def test_both_forms_say_the_same(projects: list[str]) -> None:
    head = '<meta name="pypi:repository-version" content="1.4">'
    links = [anchor(f"{canonicalize_name(name)}/", name) for name in projects]
    assert names(document(*links, head=head), HTML) == projects
    assert names(listing(*({"name": name} for name in projects))) == projects
