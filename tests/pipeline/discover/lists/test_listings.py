"""An upstream that is not what it seems is never taken for one that has nothing.

Lists that lead elsewhere, that no page bears out, that are missing; indexes at another address;
flat pages and directories of files.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pypimirror.doctor import examine
from pypimirror.doctor.finding import FindingState
from pypimirror.domain.model import Reason
from pypimirror.pipeline.summary import Summary
from tests.corpus.build import make_wheel
from tests.links import LinkMirror, page, put
from tests.mirror import Mirror, offer
from tests.pipeline.conftest import MakeMirror
from tests.simulator import HtmlError, Simulator, Status

FOO = make_wheel("Foo_Bar", "1.0")
SIX = make_wheel("six", "1.0")


def only(result: Summary) -> tuple[Reason, str]:
    (problem,) = result.failures
    return problem.reason, problem.message


def found_by_doctor(mirror: Mirror) -> dict[str, FindingState]:
    check = examine.CHECKS["list"]
    return {f.name: f.state for f in examine._guarded("list", check, mirror.config)}


def static_index(simulator: Simulator, links: dict[str, str], **pages: tuple[str, bytes]) -> str:
    """An index of plain files: `links` by their text, `pages` by path with the file on them."""
    tags = [f'<a href="{href}">{text}</a>' for text, href in links.items()]
    url = page(simulator, "/static/", *tags, title="Simple index")
    for path, made in pages.items():
        page(simulator, f"/static/{path}", put(simulator, made), title="Links for it")
    return url


# Pages that are not where one looks first


def test_pages_under_names_that_are_not_normalised_are_found_and_remembered(
    tmp_path: Path, simulator: Simulator
) -> None:
    """As `python -m http.server` and object stores have them."""
    url = static_index(simulator, {"Foo_Bar/": "Foo_Bar/", "six/": "six/"})
    page(simulator, "/static/Foo_Bar/", put(simulator, FOO), title="Index of Foo_Bar")
    page(simulator, "/static/six/", put(simulator, SIX), title="Index of six")
    mirror = LinkMirror(tmp_path, {"url": url})
    assert mirror.sync().state == "completed"
    assert mirror.has(FOO, SIX)
    simulator.forget()
    assert mirror.sync().state == "completed"
    assert simulator.count("/static/Foo_Bar/") == 1
    assert simulator.count("/static/foo-bar/") == 0, "what worked is remembered"
    page(simulator, "/static/foo-bar/", put(simulator, FOO), title="Index of Foo_Bar")
    simulator.serve("/static/Foo_Bar/", "gone", "text/html", status=404)
    assert mirror.sync().state == "completed"
    assert mirror.has(FOO, SIX), "and is forgotten where it is the page's no more"


def test_names_of_a_json_list_are_asked_for_as_they_are_written(
    tmp_path: Path, simulator: Simulator
) -> None:
    names = [{"name": "Foo_Bar", "_last-serial": 3}]
    simulator.serve(
        "/static/",
        json.dumps({"meta": {"api-version": "1.0"}, "projects": names}),
        "application/vnd.pypi.simple.v1+json",
    )
    page(simulator, "/static/Foo_Bar/", put(simulator, FOO), title="Index of Foo_Bar")
    mirror = LinkMirror(tmp_path, {"url": f"{simulator.root}/static/"})
    assert mirror.sync().state == "completed"
    assert mirror.has(FOO)


def test_a_named_project_is_looked_for_as_the_list_writes_it(
    tmp_path: Path, simulator: Simulator
) -> None:
    url = static_index(simulator, {"Foo_Bar": "Foo_Bar/"})
    page(simulator, "/static/Foo_Bar/", put(simulator, FOO), title="Index of Foo_Bar")
    mirror = LinkMirror(tmp_path, {"url": url}, select={"projects": ["foo-bar"]})
    assert mirror.sync().state == "completed"
    assert mirror.has(FOO)
    simulator.forget()
    mirror.sync()
    assert simulator.count("/static/") == 0, "once it is known, no list is asked for"


@pytest.mark.parametrize("select", [[], ["s*"], ["six"]])
def test_a_list_may_link_the_index_file_of_each_project(
    tmp_path: Path, simulator: Simulator, select: list[str]
) -> None:
    """dumb-pypi and python-pypi-mirror do, and object stores serve no directories."""
    url = static_index(simulator, {"six": "six/index.html"}, **{"six/index.html": SIX})
    mirror = LinkMirror(tmp_path, {"url": url}, select={"projects": select})
    assert mirror.sync().state == "completed"
    assert mirror.has(SIX)


@pytest.mark.parametrize("href", ["/elsewhere/six/", "../elsewhere/six/", "index.html"])
def test_a_list_may_link_pages_at_another_path(
    tmp_path: Path, simulator: Simulator, href: str
) -> None:
    url = static_index(simulator, {"six": href})
    page(simulator, "/elsewhere/six/", put(simulator, SIX), title="Links for six")
    mirror = LinkMirror(tmp_path, {"url": url})
    mirror.sync()
    assert mirror.has(SIX) == (href != "index.html")


def test_a_list_that_redirects_leads_to_its_own_pages(tmp_path: Path, simulator: Simulator) -> None:
    """An address without /simple/ that leads there."""
    offer(simulator, "six", "1.0")
    simulator.redirect("/index/", "/simple/")
    mirror = LinkMirror(tmp_path, {"url": f"{simulator.root}/index/"})
    assert mirror.sync().state == "completed"
    assert mirror.projects == ["six"]


# Lists that their pages do not bear out


@pytest.mark.parametrize("serials", [True, False])
def test_a_list_whose_pages_are_nowhere_is_told_in_every_run(
    mirror: Mirror, simulator: Simulator, serials: bool
) -> None:
    simulator.serials = serials
    for name in ("a", "b", "c"):
        offer(simulator, name, "1.0")
    rule = simulator.fault("/simple/*/", Status(404))
    for _ in range(2):
        result = mirror.sync()
        assert result.state == "incomplete"
        reason, message = only(result)
        assert reason is Reason.BAD_LIST
        assert "3 of the 3" in message
    assert found_by_doctor(mirror) == {"list of sim0": FindingState.FAILED}
    simulator.heal(rule)
    assert mirror.sync().state == "completed"
    assert mirror.projects == ["a", "b", "c"]
    assert found_by_doctor(mirror) == {"list of sim0": FindingState.OK}


@pytest.mark.parametrize("status", [404, 410])
def test_a_few_stale_names_in_a_list_are_daily_life(
    mirror: Mirror, simulator: Simulator, status: int
) -> None:
    for number in range(10):
        offer(simulator, f"p{number}", "1.0")
    simulator.fault("/simple/p3/", Status(status))
    assert mirror.sync().state == "completed"
    assert len(mirror.projects) == 9


def test_one_new_name_that_is_gone_again_is_measured_by_the_whole_list(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    offer(simulator, "brief", "1.0")
    simulator.fault("/simple/brief/", Status(404))
    assert mirror.sync().state == "completed"


def test_pages_for_people_in_place_of_each_page_are_told(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    simulator.fault("/simple/six/", HtmlError())
    assert only(mirror.sync())[0] is Reason.BAD_PAGE


def test_an_empty_list_is_told(mirror: Mirror, simulator: Simulator) -> None:
    result = mirror.sync()
    assert result.state == "incomplete"
    assert only(result)[0] is Reason.BAD_LIST
    offer(simulator, "six", "1.0")
    assert mirror.sync().state == "completed"


# What is named, and the last that is left


def test_a_named_project_that_is_nowhere_any_more_is_told_in_every_run(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.select("six", "idna")
    mirror.sync()
    simulator.delete_project("six")
    for _ in range(2):
        result = mirror.sync()
        assert result.state == "incomplete"
        reason, message = only(result)
        assert (reason, "any more" in message) == (Reason.MISSING, True)
    assert mirror.projects == ["idna"]


@pytest.mark.parametrize("entry", ["six==9.9", "six>=2,<3"])
def test_a_named_release_that_is_nowhere_is_told_in_every_run(
    mirror: Mirror, simulator: Simulator, entry: str
) -> None:
    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.select("six==1.0", entry, "idna")
    for _ in range(2):
        result = mirror.sync()
        assert result.state == "incomplete"
        reason, message = only(result)
        assert reason is Reason.MISSING
        assert entry in message
        assert mirror.files("six") == ["six-1.0-py3-none-any.whl"]
    offer(simulator, "six", "9.9" if "9.9" in entry else "2.5")
    assert mirror.sync().state == "completed"
    assert len(mirror.files("six")) == 2


def test_a_hash_that_no_file_has_is_told(mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0")
    (mirror.base / "requirements.txt").write_text(f"six==1.0 --hash=sha256:{'0' * 64}\n")
    mirror.select("-r requirements.txt")
    assert "hashes" in only(mirror.sync())[1]


@pytest.mark.parametrize("select", [[], ["s*"], ["six"]])
def test_the_last_project_does_not_go_in_silence(
    mirror: Mirror, simulator: Simulator, select: list[str]
) -> None:
    """As by an address that has lost its /simple/: one project is all that there is."""
    offer(simulator, "six", "1.0")
    mirror.select(*select)
    mirror.sync()
    rule = simulator.fault("/simple/six/", Status(404))
    simulator.project("six").touch()
    for _ in range(2):
        result = mirror.sync()
        assert result.state == "failed"
        assert Reason.DELETION_GUARD in {problem.reason for problem in result.failures}
        assert mirror.projects == ["six"]
    simulator.heal(rule)
    assert mirror.sync().state == "completed", "though the list is what it was"
    assert mirror.projects == ["six"]
    simulator.delete_project("six")
    mirror.configure(delete={"max_share": 1.0})
    mirror.sync()
    assert mirror.projects == []


def test_what_replaces_the_only_file_is_no_loss_of_everything(
    mirror: Mirror, simulator: Simulator
) -> None:
    (old,) = offer(simulator, "six", "1.0")
    mirror.sync()
    old.remove()
    (new,) = offer(simulator, "six", "2.0")
    assert mirror.sync().state == "completed"
    assert mirror.files("six") == [new.filename]


def test_an_address_without_simple_is_told_with_the_line_that_mends_it(
    tmp_path: Path, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    mirror = LinkMirror(tmp_path, {"url": simulator.root}, select={"projects": ["six"]})
    reason, message = only(mirror.sync())
    assert reason is Reason.MISSING
    assert f'url = "{simulator.root}/simple/"' in message


# Pages and directories of files


@pytest.mark.parametrize("select", [[], ["f*"], ["foo-bar"]])
def test_a_flat_page_of_files_is_refused_with_the_line_that_mends_it(
    tmp_path: Path, simulator: Simulator, select: list[str]
) -> None:
    file = f'<a href="{put(simulator, FOO)}">{FOO[0]}</a>'
    url = page(simulator, "/wheels/", file, title="Index of /wheels/")
    mirror = LinkMirror(tmp_path, {"url": url}, select={"projects": select})
    result = mirror.sync()
    assert result.state in ("failed", "incomplete")
    assert 'kind = "links"' in only(result)[1]
    assert "no upstream answered" not in only(result)[1]
    if select != ["foo-bar"]:
        assert found_by_doctor(mirror) == {"list of up0": FindingState.FAILED}
    mirror.change(kind="links")
    assert mirror.sync().state == "completed"
    assert mirror.has(FOO)


@pytest.mark.parametrize("select", [[], ["f*"], ["foo-bar"]])
def test_a_directory_of_files_is_an_index(tmp_path: Path, select: list[str]) -> None:
    pool = tmp_path / "pool"
    pool.mkdir()
    (pool / FOO[0]).write_bytes(FOO[1])
    mirror = LinkMirror(tmp_path, {"url": f"file://{pool}"}, select={"projects": select})
    assert mirror.sync().state == "completed"
    assert mirror.has(FOO)
    later = make_wheel("Foo_Bar", "2.0")
    (pool / later[0]).write_bytes(later[1])
    assert mirror.sync().state == "completed"
    assert mirror.has(FOO, later)


def test_directories_without_a_list_are_an_index(tmp_path: Path) -> None:
    directory = tmp_path / "simple" / "Foo_Bar"
    directory.mkdir(parents=True)
    (directory / FOO[0]).write_bytes(FOO[1])
    mirror = LinkMirror(tmp_path, {"url": f"file://{tmp_path}/simple/"})
    assert mirror.sync().state == "completed"
    assert mirror.has(FOO)


# Upstreams without a list


NO_LIST = [403, 404, 405, 410, 501]


@pytest.mark.parametrize("status", NO_LIST)
def test_without_a_list_names_go_on_and_globs_are_told_once(
    mirror: Mirror, simulator: Simulator, status: int
) -> None:
    offer(simulator, "six", "1.0")
    simulator.fault("/simple/", Status(status))
    mirror.select("six", "other-*", "more-*")
    result = mirror.sync()
    assert result.state == "incomplete"
    assert mirror.projects == ["six"]
    message = only(result)[1]
    assert "names do not" in message
    assert "has_list = false" in message
    assert found_by_doctor(mirror) == {"list of sim0": FindingState.WARNING}
    mirror.upstreams[0]["has_list"] = False
    mirror.configure()
    simulator.forget()
    assert mirror.sync().state == "completed"
    assert simulator.count("/simple/") == 0


def test_without_a_list_or_a_name_nothing_can_be_done(mirror: Mirror, simulator: Simulator) -> None:
    simulator.fault("/simple/", Status(404))
    result = mirror.sync()
    assert result.state == "failed"
    assert "no upstream has a project list" in only(result)[1]


@pytest.mark.parametrize("has_list", [True, False])
def test_what_a_later_upstream_lists_is_asked_of_one_without_a_list_first(
    make_mirror: MakeMirror, simulator: Simulator, second: Simulator, has_list: bool
) -> None:
    """Nobody takes over a name there (dependency confusion), and nothing else waits."""
    (ours,) = offer(simulator, "shared", "1.0")
    offer(second, "shared", "6.6")
    offer(second, "public", "1.0")
    simulator.fault("/simple/", Status(404))
    mirror = make_mirror(simulator, second)
    mirror.upstreams[0]["has_list"] = has_list
    mirror.configure()
    result = mirror.sync()
    assert result.state == ("incomplete" if has_list else "completed")
    assert mirror.projects == ["public", "shared"]
    assert mirror.files("shared") == [ours.filename]
    (later,) = offer(simulator, "shared", "2.0")
    mirror.sync()
    assert mirror.files("shared") == [ours.filename, later.filename]
    rule = simulator.fault("/simple/shared/", Status(503))
    second.project("shared").touch()
    assert mirror.sync().state == "incomplete"
    assert mirror.files("shared") == [ours.filename, later.filename]
    simulator.heal(rule)
    mirror.sync()
    assert mirror.files("shared") == [ours.filename, later.filename]


def test_an_index_that_had_a_list_is_broken_and_gives_no_names_away(
    make_mirror: MakeMirror, simulator: Simulator, second: Simulator
) -> None:
    offer(simulator, "ours", "1.0")
    mirror = make_mirror(simulator, second)
    mirror.sync()
    simulator.fault("/simple/*", Status(404))
    offer(second, "new", "6.6")
    assert mirror.sync().state in ("incomplete", "failed")
    assert mirror.projects == ["ours"], "new may be one that the first would have had"


def test_a_list_that_is_down_does_not_stop_what_is_named(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    simulator.fault("/simple/", Status(500))
    mirror.select("six", "other-*")
    assert mirror.sync().state == "incomplete"
    assert mirror.projects == ["six"]
