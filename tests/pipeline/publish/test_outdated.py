"""After an upgrade, or a downgrade, pages are rendered again little by little; promises hold.

An older version is played by one that renders other bytes, under another number.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pypimirror.catalog.marks import RENDERER, ROOT_RENDERER
from pypimirror.catalog.queries import marks
from pypimirror.domain.model import Reason
from pypimirror.pipeline import sequence
from pypimirror.pipeline.publish import contents, outdated, publish, root
from pypimirror.pipeline.run import Run
from pypimirror.render import rendering, version
from pypimirror.render.pages import Page
from tests.mirror import Mirror, offer
from tests.pipeline.audit.test_audit import verify
from tests.pipeline.publish.test_root import killed_before
from tests.sampling import sample
from tests.simulator import IndexFile, Simulator

NAMES = ("attrs", "idna", "six")

#: What only the other version writes.
OTHER = b"<!-- other -->\n"


@contextmanager
def another(number: int) -> Iterator[None]:
    """Render as version `number` did: pages in HTML have one more line."""

    def page_html(page: Page, base: str) -> bytes:
        return rendering.page_html(page, base).replace(b"<h1>", OTHER + b"<h1>")

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(contents._RENDER, "html", page_html)
        patch.setattr(version, "VERSION", number)
        yield


@pytest.fixture
def old(mirror: Mirror, simulator: Simulator) -> list[IndexFile]:
    """Projects whose pages the version before this one wrote."""
    files = [file for name in NAMES for file in offer(simulator, name, "1.0")]
    with another(version.VERSION - 1):
        assert mirror.sync().state == "completed"
    assert others(mirror) == list(NAMES)
    return files


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What runs announce."""
    from pypimirror.pipeline.context.reporter import LogReporter

    heard: list[str] = []
    monkeypatch.setattr(LogReporter, "announce", lambda _, message: heard.append(message))
    return heard


def others(mirror: Mirror) -> list[str]:
    """The projects whose pages the other version wrote, on disk."""
    pages = {name: mirror.root / "simple" / name / "index.html" for name in NAMES}
    return [name for name, page in pages.items() if OTHER in page.read_bytes()]


def is_done(mirror: Mirror) -> bool:
    """Whether the marks say that this version wrote all pages and the root index."""
    query = "SELECT value FROM marks WHERE name IN (?, ?)"
    rows = mirror.query(query, RENDERER.name, ROOT_RENDERER.name)
    return [row["value"] for row in rows] == [str(version.VERSION)] * 2


def at_once(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(outdated, "AT_ONCE", number)


def test_an_upgrade_renders_some_pages_in_each_run(
    mirror: Mirror, old: list[IndexFile], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once(monkeypatch, 2)
    result = mirror.sync()
    assert (result.state, others(mirror)) == ("completed", ["six"])
    assert said == [
        "Another version of pypimirror wrote 3 pages: 2 rendered again, 1 left for the next syncs."
    ]
    assert not is_done(mirror), "the next run has something to do"
    mirror.sync()
    assert others(mirror) == []
    said.clear()
    result = mirror.sync()
    assert (result.counts["pages_written"], said) == (0, [])
    assert is_done(mirror)
    assert verify(mirror).state == "completed"


def test_a_page_that_is_rendered_as_before_keeps_its_bytes_and_its_serial(
    mirror: Mirror, old: list[IndexFile]
) -> None:
    with another(version.VERSION + 1):  # the same bytes by another number
        before = mirror.served()
        serials = mirror.query("SELECT name, page_serial FROM projects ORDER BY name")
        assert mirror.sync().counts["pages_written"] == 0
        assert mirror.served() == before
        after = mirror.query("SELECT name, page_serial FROM projects ORDER BY name")
        assert [tuple(row) for row in after] == [tuple(row) for row in serials]
        assert is_done(mirror), "none waits"


@pytest.mark.thorough
def test_a_mirror_that_follows_this_one_hears_of_a_page_that_is_rendered_again(
    mirror: Mirror, old: list[IndexFile]
) -> None:
    before = mirror.page("six")["meta"]["_last-serial"]
    mirror.sync()
    assert mirror.page("six")["meta"]["_last-serial"] == before + 1
    listed = (mirror.root / "simple/index.v1_json").read_text()
    assert f'"six","_last-serial":{before + 1}' in listed


def test_a_catalog_from_before_there_were_versions_is_looked_through_once(
    mirror: Mirror, simulator: Simulator, old: list[IndexFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.sync()
    mirror.query("UPDATE projects SET page_renderer = NULL")
    mirror.query("DELETE FROM marks WHERE name IN (?, ?)", RENDERER.name, ROOT_RENDERER.name)
    assert verify(mirror).counts["pages_waiting"] == 3
    assert mirror.sync().counts["pages_written"] == 0
    monkeypatch.setattr(publish, "_publish", lambda *_: pytest.fail("rendered"))
    monkeypatch.setattr(root, "publish", lambda *_: pytest.fail("rendered"))
    mirror.sync()
    assert verify(mirror).counts["pages_waiting"] == 0


def test_a_downgrade_renders_them_again_too(
    mirror: Mirror, old: list[IndexFile], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And an upgrade after one that was not finished takes no page for its own that is not."""
    mirror.sync()
    at_once(monkeypatch, 1)
    with another(version.VERSION - 1):
        result = verify(mirror)
        assert (result.state, result.counts["pages_waiting"]) == ("completed", 3)
        mirror.sync()
        assert others(mirror) == ["attrs"]
    at_once(monkeypatch, 10)
    result = verify(mirror)
    assert (result.state, result.counts["pages_waiting"]) == ("completed", 1)
    mirror.sync()
    assert others(mirror) == []


#: When a run dies: right before it calls a function.
MOMENTS = {
    "marked": (publish, "_publish"),
    "written": (publish, "_commit"),
    "committed": (root, "publish"),
    "listed": (outdated, "settle"),
}


@pytest.mark.parametrize("name", sample(MOMENTS, "written"))
def test_killed_in_the_middle_the_next_run_goes_on(
    mirror: Mirror,
    old: list[IndexFile],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """Promise 4."""
    at_once(monkeypatch, 2)
    killed_before(mirror, monkeypatch, *MOMENTS[name])
    mirror.check(agree=False)
    mirror.sync()
    mirror.sync()
    assert others(mirror) == []
    result = verify(mirror)
    assert (result.state, result.counts["pages_waiting"]) == ("completed", 0)


@pytest.mark.parametrize("quick", sample((False, True), False))
def test_verify_counts_apart_what_waits(
    mirror: Mirror, old: list[IndexFile], said: list[str], quick: bool
) -> None:
    result = verify(mirror, quick=quick)
    assert (result.state, result.failures) == ("completed", [])
    assert result.counts["pages_waiting"] == 3
    assert said == [
        "3 pages of another version of pypimirror left to be rendered again; "
        "each sync renders up to 20000."
    ]
    assert others(mirror) == list(NAMES), "verify changes nothing"


PAGES = ("simple/six/index.html", "simple/six/index.v1_json", "simple/index.html")


def rot(mirror: Mirror, path: str) -> None:
    page = mirror.root / path
    page.write_bytes(page.read_bytes().replace(b"Links for", b"Linkz for").replace(b"six", b"sjx"))


@pytest.mark.parametrize("path", sample(PAGES, PAGES[0]))
def test_a_page_that_waits_and_was_altered_is_told_and_repaired(
    mirror: Mirror, old: list[IndexFile], path: str
) -> None:
    rot(mirror, path)
    result = verify(mirror)
    assert {problem.reason for problem in result.failures} == {Reason.PAGE_DIFFERS}
    assert {problem.project for problem in result.failures} == {"six" if "six" in path else ""}
    result = verify(mirror, repair=True)
    assert result.state == "completed"
    mirror.check()
    assert others(mirror) == []
    assert verify(mirror).counts["pages_waiting"] == 0


@pytest.mark.parametrize("form", sample(("html", "json", "legacy"), "html", "legacy"))
def test_a_link_of_a_page_that_waits_must_lead_to_what_is_here(
    mirror: Mirror, simulator: Simulator, form: str
) -> None:
    """Promise 2: also where nobody knows what its bytes were."""
    mirror.configure(publish={"formats": ["html", "json", form]})
    offer(simulator, "six", "1.0")
    with another(version.VERSION - 1):
        mirror.sync()
    mirror.query("UPDATE projects SET page_sha256 = NULL")
    assert verify(mirror).state == "completed"
    path = {"html": "simple/six/index.html", "json": "simple/six/index.v1_json"}
    page = mirror.root / path.get(form, "pypi/six/json")
    page.write_bytes(page.read_bytes().replace(b"packages/six/six", b"packages/six/sjx"))
    (problem,) = verify(mirror).failures
    assert (problem.reason, problem.project) == (Reason.PAGE_DIFFERS, "six")


@pytest.mark.thorough
def test_a_page_that_waits_and_is_lost_is_told(mirror: Mirror, old: list[IndexFile]) -> None:
    mirror.query("UPDATE projects SET page_sha256 = NULL")
    (mirror.root / "simple/six/index.html").unlink()
    (problem,) = verify(mirror).failures
    assert (problem.reason, problem.project) == (Reason.PAGE_DIFFERS, "six")


@pytest.mark.thorough
def test_links_away_and_names_with_odd_letters_are_held_for_right(
    mirror: Mirror, simulator: Simulator
) -> None:
    mirror.select("six", "idna", metadata_only=["idna"])
    mirror.configure(publish={"base_url": "https://cdn.example.org/m/"})
    offer(simulator, "idna", "1.0")
    offer(simulator, "six", "1.0+local.1", "1!2.0")
    with another(version.VERSION - 1):
        mirror.sync(sound=False)
    result = verify(mirror)
    assert (result.failures, result.counts["pages_waiting"]) == ([], 2)


def test_a_page_that_files_are_about_to_leave_is_written_once(
    mirror: Mirror, simulator: Simulator, old: list[IndexFile]
) -> None:
    """Promise 5, out: it is rendered again without them, in the same run."""
    offer(simulator, "six", "2.0")
    old[-1].remove()
    mirror.sync()
    assert mirror.files("six") == ["six-2.0-py3-none-any.whl"]
    assert others(mirror) == []


@pytest.mark.thorough
def test_a_page_that_is_held_back_by_the_guard_is_rendered_again(
    mirror: Mirror, simulator: Simulator, old: list[IndexFile]
) -> None:
    for name in NAMES[:2]:
        simulator.delete_project(name)
    assert mirror.sync().state == "failed"
    assert others(mirror) == []
    assert mirror.projects == list(NAMES)


def test_a_dry_run_says_which_pages_a_run_renders_again(
    mirror: Mirror, old: list[IndexFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once(monkeypatch, 2)
    assert list(mirror.plan().publish) == ["attrs", "idna"]
    assert others(mirror) == list(NAMES)


def test_a_run_that_finds_nothing_looks_for_no_page(
    mirror: Mirror, old: list[IndexFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.sync()
    monkeypatch.setattr(
        outdated.pages, "of_other_renderers", lambda *_, **__: pytest.fail("looked")
    )
    monkeypatch.setattr(
        outdated.pages, "number_of_other_renderers", lambda *_: pytest.fail("looked")
    )
    mirror.sync()


@pytest.mark.thorough
def test_all_new_pages_are_of_this_version(mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0")

    def look(run: Run) -> None:
        sequence.sync(run)
        with run.catalog.read() as connection:
            assert marks.read(connection, RENDERER) == version.VERSION
            assert outdated.is_root_current(connection)

    mirror.sync(work=look)
    assert verify(mirror).counts["pages_waiting"] == 0
