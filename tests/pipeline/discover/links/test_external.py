"""`follow_external` on simple indexes: linked pages, downloads without a name, and their limits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pypimirror.config.settings import load
from pypimirror.domain.model import File, ProjectPage, Reason
from pypimirror.pipeline.discover.project_pages import limited
from tests.corpus.build import make_sdist, make_wheel
from tests.links import LinkMirror, Made, host_of, page, put, with_digest
from tests.mirror import reasons
from tests.simulator import Simulator, Status

OWN, OLD, NEW = (make_wheel("six", version) for version in ("1.0", "0.9", "1.1"))


@pytest.fixture
def other() -> Iterator[Simulator]:
    """Another host."""
    with Simulator(host="127.0.0.2") as running:
        yield running


def index(tmp_path: Path, simulator: Simulator, *links: str, **keys: Any) -> LinkMirror:
    """A mirror of an index whose page of six has its own file and these links."""
    own = with_digest(put(simulator, OWN), OWN)
    page(simulator, "/simple/six/", own, *links, title="Links for six")
    upstream = {"url": simulator.url, "follow_external": True} | keys
    return LinkMirror(tmp_path, upstream, select={"projects": ["six"]})


def marked(url: str, rel: str = "homepage") -> str:
    return f'<a href="{url}" rel="{rel}">link</a>'


def download(sim: Simulator, made: Made, disposition: str | None = None) -> str:
    """Offer a file behind an address that does not name it."""
    headers = {"Content-Disposition": disposition or f'attachment; filename="{made[0]}"'}
    sim.serve("/get", made[1], "application/octet-stream", headers=headers)
    return f"{sim.root}/get?download=1"


@pytest.mark.parametrize("rel", ["homepage", "download"])
def test_marked_pages_are_read_where_the_configuration_says_so(
    tmp_path: Path, simulator: Simulator, other: Simulator, rel: str
) -> None:
    home = page(other, "/", put(other, OLD), "/six.asc", "http://127.0.0.2/deeper/")
    mirror = index(tmp_path, simulator, marked(home, rel), hosts=[host_of(other)])
    mirror.change(follow_external=False)
    assert mirror.sync().state == "completed"
    assert mirror.files("six") == [OWN[0]]
    assert other.requests == []
    mirror.change(follow_external=True)
    assert mirror.sync().state == "completed"
    assert mirror.has(OWN, OLD)


def test_a_change_behind_an_unchanged_page_is_found_and_no_change_writes_nothing(
    tmp_path: Path, simulator: Simulator, other: Simulator
) -> None:
    mirror = index(
        tmp_path, simulator, marked(page(other, "/", put(other, OLD))), hosts=["127.0.0.2"]
    )
    mirror.sync()
    served = mirror.served()
    result = mirror.sync()
    assert (result.counts["projects_changed"], mirror.served()) == (0, served)
    page(other, "/", put(other, OLD), put(other, NEW))
    mirror.sync()
    assert mirror.has(OWN, OLD, NEW)


def test_a_change_behind_a_page_whose_serial_did_not_move_is_found(
    tmp_path: Path, simulator: Simulator, other: Simulator
) -> None:
    """Serials tell of the index; what it links to goes its own ways."""
    simulator.add_file("six", *OWN)
    mirror = index(
        tmp_path, simulator, marked(page(other, "/", put(other, OLD))), hosts=["127.0.0.2"]
    )
    mirror.select()  # everything that the list has, which tells serials
    mirror.sync()
    assert mirror.has(OWN, OLD)
    for made in (NEW, make_wheel("six", "1.2")):
        page(other, "/", put(other, OLD), put(other, made))
        mirror.sync()
        assert mirror.has(OWN, OLD, made)


def test_a_host_that_hosts_does_not_allow_is_not_asked(
    tmp_path: Path, simulator: Simulator, other: Simulator
) -> None:
    mirror = index(tmp_path, simulator, marked(page(other, "/", put(other, OLD))))
    assert mirror.sync().failures == []
    assert mirror.files("six") == [OWN[0]]
    mirror.change(hosts=["*"])  # any public one, that is
    assert mirror.sync().failures == []
    assert other.requests == []


def test_a_file_on_another_host_needs_hosts_and_not_follow_external(
    tmp_path: Path, simulator: Simulator, other: Simulator
) -> None:
    mirror = index(tmp_path, simulator, put(other, OLD), follow_external=False)
    assert reasons(mirror.sync().failures) == {OLD[0]: Reason.HOST_NOT_ALLOWED}
    mirror.change(hosts=["127.0.0.2"])
    assert mirror.sync().state == "completed"
    assert mirror.has(OWN, OLD)


def test_a_linked_page_that_leads_to_a_private_address_is_not_followed_there(
    tmp_path: Path, simulator: Simulator, other: Simulator
) -> None:
    page(other, "/secret", put(other, OLD))
    simulator.redirect("/home", f"{other.root}/secret")
    mirror = index(tmp_path, simulator, marked("/home"), hosts=["*"])
    mirror.sync()
    assert other.requests == []


def test_a_linked_page_that_fails_is_reported_and_its_files_stay(
    tmp_path: Path, simulator: Simulator, other: Simulator
) -> None:
    home = page(other, "/", put(other, OLD))
    mirror = index(tmp_path, simulator, marked(home), hosts=["127.0.0.2"])
    mirror.sync()
    rule = other.fault("/", Status(500))
    for _ in range(2):
        result = mirror.sync()
        assert result.state == "incomplete"
        assert [problem.project for problem in result.failures] == ["six"]
        assert mirror.has(OWN, OLD)
    other.heal(rule)
    assert mirror.sync().state == "completed"
    page(other, "/")
    mirror.sync()
    assert mirror.files("six") == [OWN[0]]


def test_files_of_other_projects_on_a_home_page_are_passed_over(
    tmp_path: Path, simulator: Simulator, other: Simulator
) -> None:
    strangers = make_sdist("six-extra", "1.0"), make_wheel("idna", "1.0")
    home = page(other, "/", *(put(other, made) for made in strangers))
    mirror = index(tmp_path, simulator, marked(home), hosts=["127.0.0.2"])
    assert mirror.sync().failures == []
    assert mirror.files("six") == [OWN[0]]


def test_a_digest_of_the_index_holds_for_the_copies_elsewhere_and_contradictions_are_refused(
    tmp_path: Path, simulator: Simulator, other: Simulator
) -> None:
    home = page(other, "/", f"{put(other, OWN)}#sha256={'ab' * 32}")
    mirror = index(tmp_path, simulator, marked(home), hosts=["127.0.0.2"])
    (problem,) = mirror.sync().failures
    assert problem.reason is Reason.DIGEST_CONFLICT
    assert mirror.content(OWN[0]) is None


def test_a_withheld_project_is_not_looked_for_elsewhere(
    tmp_path: Path, simulator: Simulator, other: Simulator
) -> None:
    mirror = index(tmp_path, simulator, hosts=["127.0.0.2"])
    home = page(other, "/", put(other, OLD))
    status = '<meta name="pypi:project-status" content="quarantined">'
    simulator.serve("/simple/six/", f"<html>{status}{marked(home)}</html>", "text/html")
    mirror.sync()
    assert other.requests == []


# Downloads without a name


@pytest.mark.parametrize(
    "disposition", [None, f"attachment; filename=x.zip; filename*=UTF-8''{OLD[0]}"]
)
def test_the_answer_names_a_download(
    tmp_path: Path, simulator: Simulator, other: Simulator, disposition: str | None
) -> None:
    url = download(other, OLD, disposition)
    simulator.redirect("/dl", url)
    mirror = index(tmp_path, simulator, "/dl?download=1", hosts=["127.0.0.2"])
    assert mirror.sync().state == "completed"
    assert mirror.has(OWN, OLD)
    assert [request.method for request in other.find("/get")] == ["HEAD", "GET"]


def test_the_address_behind_redirects_names_a_download_without_a_header(
    tmp_path: Path, simulator: Simulator
) -> None:
    simulator.redirect("/dl", put(simulator, OLD))
    mirror = index(tmp_path, simulator, "/dl?download=1")
    assert mirror.sync().state == "completed"
    assert mirror.has(OWN, OLD)


def test_where_head_is_refused_the_name_is_asked_for_by_get(
    tmp_path: Path, simulator: Simulator
) -> None:
    simulator.fault("/get", Status(405), method="HEAD")
    mirror = index(tmp_path, simulator, download(simulator, OLD))
    assert mirror.sync().state == "completed"
    assert mirror.has(OWN, OLD)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../../six-0.9.zip", Reason.UNSAFE_NAME),
        ("six-0.9%2f.zip", Reason.UNSAFE_NAME),
        ("idna-1.0.zip", None),
        ("report.pdf", None),
    ],
)
def test_the_name_of_a_download_is_checked_as_any_other(
    tmp_path: Path, simulator: Simulator, name: str, reason: Reason | None
) -> None:
    url = download(simulator, OLD, f'attachment; filename="{name}"')
    mirror = index(tmp_path, simulator, url)
    result = mirror.sync()
    assert [problem.reason for problem in result.failures] == ([reason] if reason else [])
    assert mirror.files("six") == [OWN[0]]


def test_a_download_is_not_looked_up_at_a_private_address(
    tmp_path: Path, simulator: Simulator, other: Simulator
) -> None:
    simulator.redirect("/dl", download(other, OLD))
    mirror = index(tmp_path, simulator, "/dl?download=1", hosts=["*"])
    mirror.sync()
    assert other.requests == []


def test_a_download_keeps_the_digest_of_its_link(tmp_path: Path, simulator: Simulator) -> None:
    url = with_digest(download(simulator, OLD), NEW)
    mirror = index(tmp_path, simulator, url)
    assert reasons(mirror.sync().failures) == {OLD[0]: Reason.DIGEST_MISMATCH}


def test_a_marked_page_that_is_a_file_is_taken_as_one(tmp_path: Path, simulator: Simulator) -> None:
    headers = {"Content-Disposition": f"attachment; filename={OLD[0]}"}
    simulator.serve("/latest", OLD[1], "application/octet-stream", headers=headers)
    mirror = index(tmp_path, simulator, marked("/latest", "download"))
    assert mirror.sync().state == "completed"
    assert mirror.has(OWN, OLD)


# The newest


def test_of_external_files_only_the_newest_are_mirrored_and_the_index_is_not_limited(
    tmp_path: Path, simulator: Simulator, other: Simulator
) -> None:
    mades = [make_wheel("six", f"0.{n}") for n in range(8, 12)]
    home = page(other, "/", *(put(other, made) for made in mades))
    mirror = index(tmp_path, simulator, marked(home), hosts=["127.0.0.2"], newest=2)
    assert mirror.sync().state == "completed"
    assert set(mirror.files("six")) == {OWN[0], mades[2][0], mades[3][0]}
    mirror.change(newest=0)
    mirror.sync()
    assert mirror.has(OWN, *mades)
    mirror.change(newest=1)  # the configuration's wish, which no deletion guard holds up
    mirror.sync()
    assert set(mirror.files("six")) == {OWN[0], mades[3][0]}


def test_the_newest_are_those_of_the_newest_versions_and_odd_names_come_last() -> None:
    names = ["six-1.9.zip", "six-1.10.zip", "six-latest.zip", "six-0.1.zip", "six-own.zip"]
    files = tuple(File(name, f"http://host/{name}") for name in names)
    shown = ProjectPage("six", "six", files=files, external=tuple(names[:4]))
    assert limited(shown, [True] * 5, 2) == [True, True, False, False, True]
    assert limited(shown, [False, True, True, True, True], 2) == [False, True, False, True, True]
    assert limited(shown, [True] * 5, 0) == [True] * 5


def test_the_defaults_fit_pypi(tmp_path: Path) -> None:
    """Files on PyPI's other host need no following, but only `hosts`."""
    (tmp_path / "pypimirror.toml").write_text("")
    (upstream,) = load(tmp_path / "pypimirror.toml").upstream
    assert (upstream.follow_external, upstream.hosts, upstream.newest) == (False, ("*",), 20)
