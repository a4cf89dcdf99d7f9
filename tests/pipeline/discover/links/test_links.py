"""Upstreams of `kind = "links"`: one page for many projects, under the rules of all upstreams."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pypimirror.domain.model import Reason
from tests.corpus.build import make_sdist, make_wheel
from tests.links import LinkMirror, host_of, page, put, with_digest
from tests.mirror import reasons
from tests.simulator import Fault, Hangup, HtmlError, Simulator, Status

SIX, IDNA = make_wheel("six", "1.0"), make_sdist("idna", "2.0")

NAMED = {"projects": ["six", "idna"]}
SELECTED = pytest.mark.parametrize("select", [{}, NAMED], ids=["all", "named"])


@pytest.fixture
def other() -> Iterator[Simulator]:
    """Another host."""
    with Simulator(host="127.0.0.2") as running:
        yield running


def links_mirror(
    tmp_path: Path, simulator: Simulator, select: dict[str, list[str]] | None = None
) -> LinkMirror:
    """A mirror of a page of links to six and idna."""
    page(simulator, "/links.html", *(put(simulator, made) for made in (SIX, IDNA)))
    upstream = {"kind": "links", "url": f"{simulator.root}/links.html"}
    return LinkMirror(tmp_path, upstream, select=select or {})


@SELECTED
def test_files_are_sorted_by_project(
    tmp_path: Path, simulator: Simulator, select: dict[str, list[str]]
) -> None:
    mirror = links_mirror(tmp_path, simulator, select)
    result = mirror.sync()
    assert (result.state, result.failures) == ("completed", [])
    assert mirror.projects == ["idna", "six"]
    assert mirror.has(SIX, IDNA)


def test_a_name_asked_for_gets_its_own_files_and_not_those_it_is_the_beginning_of(
    tmp_path: Path, simulator: Simulator
) -> None:
    foo, foo_bar = make_sdist("foo", "1.0"), make_sdist("foo-bar", "1.0")
    page(simulator, "/l", *(put(simulator, made) for made in (foo, foo_bar)))
    upstream = {"kind": "links", "url": f"{simulator.root}/l"}
    mirror = LinkMirror(tmp_path, upstream, select={"projects": ["foo"]})
    assert mirror.sync().state == "completed"
    assert mirror.files("foo") == [foo[0]]


@SELECTED
def test_a_run_without_changes_reads_one_page_and_writes_nothing(
    tmp_path: Path, simulator: Simulator, select: dict[str, list[str]]
) -> None:
    mirror = links_mirror(tmp_path, simulator, select)
    mirror.sync()
    served = mirror.served()
    simulator.forget()
    result = mirror.sync()
    assert [request.path for request in simulator.requests] == ["/links.html"]
    assert result.counts["projects_seen"] == 2
    assert result.counts["projects_changed"] == result.counts["pages_written"] == 0
    assert mirror.served() == served


@SELECTED
def test_new_files_come_and_dropped_ones_go(
    tmp_path: Path, simulator: Simulator, select: dict[str, list[str]]
) -> None:
    mirror = links_mirror(tmp_path, simulator, select)
    mirror.sync()
    newer = make_wheel("six", "1.1")
    page(simulator, "/links.html", *(put(simulator, made) for made in (newer, IDNA)))
    assert mirror.sync().state == "completed"
    assert mirror.files("six") == [newer[0]]
    page(simulator, "/links.html", put(simulator, IDNA))
    mirror.sync()
    assert mirror.projects == ["idna"]


@SELECTED
@pytest.mark.parametrize(
    "fault",
    [Hangup(), Status(500), Status(404), Status(410), HtmlError()],
    ids=["hangup", "500", "404", "410", "error-page"],
)
def test_a_page_that_cannot_be_read_does_not_make_its_projects_look_deleted(
    tmp_path: Path, simulator: Simulator, select: dict[str, list[str]], fault: Fault
) -> None:
    mirror = links_mirror(tmp_path, simulator, select)
    mirror.sync()
    served = mirror.served()
    rule = simulator.fault("/links.html", fault)
    for _ in range(2):
        result = mirror.sync()
        assert result.state in ("failed", "incomplete")
        assert result.failures or "links.html" in result.message
        assert mirror.served() == served
    simulator.heal(rule)
    assert mirror.sync().state == "completed"
    assert mirror.served() == served


def test_pages_that_the_page_links_to_are_read_and_theirs_are_not(
    tmp_path: Path, simulator: Simulator
) -> None:
    deep = make_wheel("deep", "1.0")
    page(simulator, "/l/a/b.html", put(simulator, deep))
    page(simulator, "/l/a.html", put(simulator, IDNA), "a/b.html")
    mirror_url = page(simulator, "/l/", put(simulator, SIX), "a.html")
    mirror = LinkMirror(tmp_path, {"kind": "links", "url": mirror_url})
    assert mirror.sync().state == "completed"
    assert mirror.projects == ["idna", "six"]
    assert simulator.count("/l/a/b.html") == 0


@SELECTED
def test_a_linked_page_that_cannot_be_read_is_reported_and_nothing_of_it_is_taken_for_gone(
    tmp_path: Path, simulator: Simulator, select: dict[str, list[str]]
) -> None:
    page(simulator, "/idna.html", put(simulator, IDNA))
    url = page(simulator, "/links.html", put(simulator, SIX), "idna.html")
    mirror = LinkMirror(tmp_path, {"kind": "links", "url": url}, select=select)
    mirror.sync()
    assert mirror.has(SIX, IDNA)
    rule = simulator.fault("/idna.html", Status(500))
    result = mirror.sync()
    assert result.state == "incomplete"
    assert any("/idna.html" in failure.message for failure in result.failures)
    assert mirror.has(SIX, IDNA)
    simulator.heal(rule)
    assert mirror.sync().state == "completed"
    page(simulator, "/idna.html")
    named = "projects" in select
    # What somebody has named is never passed over in silence.
    assert mirror.sync().state == ("incomplete" if named else "completed")
    assert mirror.projects == ["six"]


def test_a_file_on_another_host_is_refused_unless_hosts_names_it(
    tmp_path: Path, simulator: Simulator, other: Simulator
) -> None:
    url = page(simulator, "/l", put(simulator, IDNA), put(other, SIX))
    mirror = LinkMirror(tmp_path, {"kind": "links", "url": url})
    result = mirror.sync()
    assert reasons(result.failures) == {SIX[0]: Reason.HOST_NOT_ALLOWED}
    (problem,) = result.failures
    assert "127.0.0.2" in problem.message
    assert "hosts = [" in problem.message
    assert other.requests == []
    mirror.change(hosts=["127.0.0.2"])
    assert mirror.sync().state == "completed"
    assert mirror.has(SIX, IDNA)


@pytest.mark.parametrize("follow", [False, True])
def test_any_public_host_is_no_private_one(
    tmp_path: Path, simulator: Simulator, other: Simulator, follow: bool
) -> None:
    """`hosts = ["*"]`: the address that is connected to decides, also behind a redirect."""
    simulator.redirect("/packages/" + SIX[0], put(other, SIX))
    url = page(simulator, "/l", f"/packages/{SIX[0]}", put(other, IDNA), f"{other.root}/more.html")
    upstream = {"kind": "links", "url": url, "hosts": ["*"], "follow_external": follow}
    mirror = LinkMirror(tmp_path, upstream)
    result = mirror.sync()
    assert reasons(result.failures) == dict.fromkeys((SIX[0], IDNA[0]), "host-not-allowed")
    assert other.requests == []


def test_pages_on_another_host_are_read_with_follow_external_where_hosts_allows_it(
    tmp_path: Path, simulator: Simulator, other: Simulator
) -> None:
    url = page(simulator, "/l", put(simulator, SIX), page(other, "/more.html", put(other, IDNA)))
    mirror = LinkMirror(tmp_path, {"kind": "links", "url": url, "hosts": [host_of(other)]})
    mirror.sync()
    assert mirror.projects == ["six"]
    assert other.requests == []
    mirror.change(follow_external=True)
    assert mirror.sync().state == "completed"
    assert mirror.has(SIX, IDNA)
    mirror.change(hosts=[])
    assert mirror.sync().failures == []  # the configuration leaves the page out
    assert other.count("/more.html") == 1


def test_no_more_pages_than_max_links_are_read(
    tmp_path: Path, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    more = [page(simulator, f"/{n}.html") for n in range(4)]
    url = page(simulator, "/l", put(simulator, SIX), *more)
    mirror = LinkMirror(tmp_path, {"kind": "links", "url": url, "max_links": 2})
    assert mirror.sync().state == "completed"
    assert simulator.count("/?.html") == 2
    assert "max_links" in caplog.text


def test_names_that_tell_no_project_are_left_out_with_a_warning(
    tmp_path: Path, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    url = page(simulator, "/l", put(simulator, SIX), "/..%2f..%2fetc-1.0.zip", "/foo.zip")
    mirror = LinkMirror(tmp_path, {"kind": "links", "url": url})
    assert mirror.sync().state == "completed"
    assert mirror.projects == ["six"]
    assert "'foo.zip'" in caplog.text


def test_a_refused_link_is_reported_with_its_project_in_every_run(
    tmp_path: Path, simulator: Simulator
) -> None:
    url = page(simulator, "/l", put(simulator, IDNA), "/six-1.0.zip#sha256=beef")
    mirror = LinkMirror(tmp_path, {"kind": "links", "url": url})
    for _ in range(2):
        (problem,) = mirror.sync().failures
        assert (problem.project, problem.file) == ("six", "six-1.0.zip")
        assert problem.reason is Reason.BAD_DIGEST


# With other upstreams


def test_an_index_behind_a_page_of_links_owns_what_the_page_does_not_have(
    tmp_path: Path, simulator: Simulator, other: Simulator
) -> None:
    url = page(simulator, "/l", put(simulator, SIX))
    other.add_file("six", *make_wheel("six", "9.9"))
    own = other.add_file("idna", *IDNA)
    mirror = LinkMirror(tmp_path, {"kind": "links", "url": url}, {"url": other.url})
    assert mirror.sync().state == "completed"
    assert mirror.files("six") == [SIX[0]]
    assert mirror.files("idna") == [own.filename]


def test_a_page_of_links_that_is_down_hands_nothing_over(
    tmp_path: Path, simulator: Simulator, other: Simulator
) -> None:
    url = page(simulator, "/l", put(simulator, SIX))
    other.add_file("six", *make_wheel("six", "9.9"))
    mirror = LinkMirror(tmp_path, {"kind": "links", "url": url}, {"url": other.url})
    mirror.sync()
    with simulator.refusing():
        assert mirror.sync().state in ("incomplete", "failed")
    assert mirror.files("six") == [SIX[0]]


def test_a_page_of_links_behind_the_owner_contributes_what_it_claims(
    tmp_path: Path, simulator: Simulator, other: Simulator
) -> None:
    simulator.add_file("six", *SIX, digests=None)
    url = page(other, "/l", with_digest(put(other, SIX), SIX))
    mirror = LinkMirror(
        tmp_path,
        {"url": simulator.url},
        {"kind": "links", "url": url},
        verify={"accept": "shared"},
    )
    assert mirror.sync().state == "completed"
    assert mirror.has(SIX)
    (row,) = mirror.query("SELECT proof_source FROM files")
    assert row["proof_source"] == "up1"
    assert other.downloads(SIX[0]) == 0


def test_a_page_of_links_that_contradicts_the_owner_is_named_and_the_file_refused(
    tmp_path: Path, simulator: Simulator, other: Simulator
) -> None:
    simulator.add_file("six", *SIX)
    url = page(other, "/l", f"/{SIX[0]}#sha256={'ab' * 32}")
    mirror = LinkMirror(tmp_path, {"url": simulator.url}, {"kind": "links", "url": url})
    (problem,) = mirror.sync().failures
    assert problem.reason is Reason.DIGEST_CONFLICT
    assert "up0" in problem.message
    assert "up1" in problem.message
    assert mirror.content(SIX[0]) is None
