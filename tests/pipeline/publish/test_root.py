"""The root index: amended where little has changed, and always what rendering it whole would give.

Promises 4 and 5: whatever a run dies between, the next one lists what has a page, and nothing
whose page it is about to remove.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from alembic import command
from alembic.config import Config

from pypimirror.catalog.database import Catalog, engine_for
from pypimirror.domain.model import Stage
from pypimirror.pipeline import sequence
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.publish import contents, finishing, publish, root
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.summary import Summary
from pypimirror.render import amend
from pypimirror.system.project import project_directory
from tests.mirror import Mirror, offer
from tests.pipeline.audit.test_audit import verify
from tests.simulator import IndexFile, Simulator


class KilledError(BaseException):
    """Ends a run as abruptly as a test in one process can."""


@pytest.fixture
def held(mirror: Mirror, simulator: Simulator) -> list[IndexFile]:
    """Some projects, mirrored."""
    for name in ("a", "a-b", "ab", "six", "zope"):
        offer(simulator, name, "1.0")
    assert mirror.sync().state == "completed"
    return list(offer(simulator, "six", "1.1"))


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Grows with each root index that is rendered whole."""
    times: list[bool] = []
    usual = contents.root_forms

    def watched(run: Run, *arguments: Any, **more: Any) -> Any:
        times.append(True)
        return usual(run, *arguments, **more)

    monkeypatch.setattr(contents, "root_forms", watched)
    return times


def check(mirror: Mirror, *, with_gone: bool = False) -> None:
    """Hold the root index against rendering it whole, and the catalog against a verification."""

    def look(run: Run) -> None:
        with run.catalog.read() as connection:
            for path, chunks in contents.root_forms(run, connection, with_gone=with_gone):
                assert run.storage.read(path) == b"".join(chunks), path

    mirror.sync(work=look)
    if not with_gone:
        assert mirror.query("SELECT name FROM projects WHERE root_entry_stale IS NOT NULL") == []
    assert verify(mirror).state == "completed"


def killed_before(mirror: Mirror, monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
    """Let a sync die right before it calls a function."""

    def die(*_: Any, **__: Any) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(module, name, die)
        with pytest.raises(KilledError):
            mirror.sync()


def test_one_that_changes_in_many_is_amended(
    mirror: Mirror, held: list[IndexFile], rendered: list[bool]
) -> None:
    assert mirror.sync().counts["pages_written"] == 4
    assert rendered == []
    check(mirror)


def test_what_comes_and_goes_is_amended(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile], rendered: list[bool]
) -> None:
    for name in ("0", "a-c", "zz"):
        offer(simulator, name, "1.0")
    for name in ("a", "zope"):
        simulator.delete_project(name)
    mirror.configure(delete={"max_share": 1.0})
    mirror.sync()
    assert rendered == []
    assert mirror.projects == ["0", "a-b", "a-c", "ab", "six", "zz"]
    check(mirror)


def test_a_sync_that_changes_no_page_writes_none(
    mirror: Mirror, held: list[IndexFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.sync()
    monkeypatch.setattr(root, "publish", lambda *_, **__: pytest.fail("written"))
    mirror.sync()


def alter(mirror: Mirror) -> None:
    path = mirror.root / "simple" / "index.html"
    path.write_bytes(path.read_bytes().replace(b"zope", b"zopf"))


def rot(mirror: Mirror) -> None:
    """Alter a byte as a rotten disk does, and let the stamp say nothing of it."""
    path = mirror.root / "simple" / "index.v1_json"
    content = path.read_bytes().replace(b'"zope"', b'"zopf"')
    with path.open("r+b") as stream:
        stream.write(content)
    (known,) = mirror.query("SELECT value FROM marks WHERE name = 'root index seen'")
    stamp: list[int] = []

    def look(run: Run) -> None:
        paths = contents.page_paths(None, run.config.publish.formats).values()
        stamp.append(run.storage.stamp_of_all(paths) or 0)

    mirror.sync(work=look, sound=False)
    digest = known["value"].partition(" ")[2]
    mirror.query(
        "UPDATE marks SET value = ? WHERE name = 'root index seen'", f"{stamp[0]} {digest}"
    )


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(alter, id="altered by hand"),
        pytest.param(rot, id="rotten"),
        pytest.param(lambda m: (m.root / "simple" / "index.html").unlink(), id="lost"),
        pytest.param(
            lambda m: m.query("UPDATE marks SET value = 'stale' WHERE name = 'root index'"),
            id="marked",
        ),
        pytest.param(
            lambda m: m.query("DELETE FROM marks WHERE name = 'root index'"), id="never written"
        ),
        pytest.param(
            lambda m: m.query("DELETE FROM marks WHERE name = 'root index seen'"), id="never seen"
        ),
    ],
)
def test_it_is_rendered_whole_where_the_last_one_is_not_what_it_was(
    mirror: Mirror,
    held: list[IndexFile],
    rendered: list[bool],
    spoil: Callable[[Mirror], Any],
) -> None:
    spoil(mirror)
    mirror.sync()
    assert rendered == [True]
    check(mirror)


def test_another_api_version_is_rendered_whole(
    mirror: Mirror, simulator: Simulator, rendered: list[bool]
) -> None:
    simulator.api_version = "1.1"
    for name in ("idna", "six"):
        offer(simulator, name, "1.0")
    mirror.sync()
    rendered.clear()
    simulator.api_version = "1.4"
    offer(simulator, "six", "1.1")
    mirror.sync()
    assert rendered == [True]
    check(mirror)


def test_many_changes_at_once_are_rendered_whole(
    mirror: Mirror,
    simulator: Simulator,
    held: list[IndexFile],
    rendered: list[bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(root, "_MOST", 1)
    offer(simulator, "zope", "1.1")
    mirror.sync()
    assert rendered == [True]
    check(mirror)


def test_one_that_cannot_be_amended_after_all_is_rendered_whole(
    mirror: Mirror, held: list[IndexFile], rendered: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise amend.AmendError("no")

    monkeypatch.setattr(amend, "amended", refuse)
    mirror.sync()
    assert rendered == [True]
    check(mirror)


def test_other_forms_are_rendered_whole(
    mirror: Mirror, held: list[IndexFile], rendered: list[bool]
) -> None:
    mirror.configure(publish={"formats": ["json"]})
    mirror.sync()
    assert rendered == [True]
    check(mirror)


@pytest.mark.parametrize("formats", [["json"], ["html"], ["json", "html"], ["legacy", "html"]])
def test_each_choice_of_forms_is_amended(
    mirror: Mirror, simulator: Simulator, rendered: list[bool], formats: list[str]
) -> None:
    mirror.configure(publish={"formats": formats})
    offer(simulator, "six", "1.0")
    mirror.sync(sound=False)
    rendered.clear()
    offer(simulator, "attrs", "1.0")
    mirror.sync(sound=False)
    assert rendered == []
    assert b"attrs" in b"".join(p.read_bytes() for p in (mirror.root / "simple").glob("index.*"))


def test_after_a_migration_it_is_rendered_whole_and_rids_itself_of_what_is_gone(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile], rendered: list[bool]
) -> None:
    for name in ("a", "a-b", "ab"):
        simulator.delete_project(name)
    assert mirror.sync().state == "failed"
    before = mirror.query("SELECT name FROM projects WHERE root_entry_stale ORDER BY name")
    assert [row["name"] for row in before] == ["a", "a-b", "ab"]
    config = Config()
    config.set_main_option("script_location", str(project_directory() / "migrations"))
    catalog = Catalog(engine_for(mirror.config.catalog_url))
    with closing(catalog), catalog.write() as connection:
        config.attributes["connection"] = connection.alchemy
        command.downgrade(config, "0003")
        command.upgrade(config, "head")
    after = mirror.query("SELECT name FROM projects WHERE root_entry_stale ORDER BY name")
    assert [row["name"] for row in after] == ["a", "a-b", "ab"]
    mirror.configure(delete={"max_share": 1.0})
    rendered.clear()
    mirror.sync()
    assert rendered == [True]
    assert mirror.projects == ["six", "zope"]
    check(mirror)


def test_killed_between_pages_and_root_index_the_next_run_lists_them(
    mirror: Mirror,
    simulator: Simulator,
    held: list[IndexFile],
    rendered: list[bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Promise 4, in."""
    offer(simulator, "attrs", "1.0")
    killed_before(mirror, monkeypatch, root, "publish")
    assert "attrs" not in mirror.projects
    assert mirror.has_page("attrs")
    mirror.check(agree=False)
    mirror.sync()
    assert rendered == []
    assert "attrs" in mirror.projects
    check(mirror)


def test_killed_before_the_catalog_hears_of_it_the_next_run_renders_it_whole(
    mirror: Mirror, held: list[IndexFile], rendered: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_before(mirror, monkeypatch, root.entries, "relisted")
    mirror.sync()
    assert rendered == [True]
    check(mirror)


def test_killed_between_root_index_and_pages_the_next_run_removes_them(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 5, out."""
    simulator.delete_project("zope")
    killed_before(mirror, monkeypatch, finishing, "_remove_pages")
    assert "zope" not in mirror.projects
    assert mirror.has_page("zope")
    mirror.sync()
    assert not mirror.has_page("zope")
    check(mirror)


def test_what_comes_back_while_its_page_was_about_to_go_is_listed_again(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.select("six", "ab")
    killed_before(mirror, monkeypatch, finishing, "_remove_pages")
    assert mirror.projects == ["ab", "six"]
    mirror.select()
    mirror.sync()
    assert mirror.projects == ["a", "a-b", "ab", "six", "zope"]
    check(mirror)


def test_what_the_guard_holds_back_stays_listed_and_goes_when_it_may(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile], rendered: list[bool]
) -> None:
    for name in ("a", "a-b", "ab"):
        simulator.delete_project(name)
    assert mirror.sync().state == "failed"
    assert mirror.projects == ["a", "a-b", "ab", "six", "zope"]
    check(mirror, with_gone=True)
    alter(mirror)
    assert verify(mirror).failures[0].reason == "page-differs"
    assert verify(mirror, repair=True).state == "failed"  # the guard refuses still
    check(mirror, with_gone=True)
    rendered.clear()
    mirror.configure(delete={"max_share": 1.0})
    assert mirror.sync().state == "completed"
    assert rendered == []
    assert mirror.projects == ["six", "zope"]
    check(mirror)


def test_a_page_that_changes_while_the_guard_keeps_it_is_listed_with_its_new_serial(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does that a dead run had not rendered yet when its project went."""
    mirror.sync()
    offer(simulator, "a", "2.0")
    killed_before(mirror, monkeypatch, publish, "_publish")
    for name in ("a", "a-b", "ab"):
        simulator.delete_project(name)
    assert mirror.sync(sound=False).failures[0].reason == "deletion-guard"
    check(mirror, with_gone=True)


def test_as_long_as_the_guard_refuses_it_is_not_written_again(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "a-b", "ab"):
        simulator.delete_project(name)
    mirror.sync()
    monkeypatch.setattr(root, "publish", lambda *_, **__: pytest.fail("written"))
    assert mirror.sync().state == "failed"


def test_killed_while_they_go_those_that_the_guard_then_keeps_go_from_it_first(
    mirror: Mirror,
    simulator: Simulator,
    held: list[IndexFile],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Promise 5, out: what is listed again for a while is taken from the root index again."""
    simulator.delete_project("zope")
    killed_before(mirror, monkeypatch, finishing, "_remove_pages")
    for name in ("a", "a-b", "ab"):
        simulator.delete_project(name)
    mirror.query("UPDATE marks SET value = 'stale' WHERE name = 'root index'")
    assert mirror.sync().state == "failed"
    assert "zope" in mirror.projects
    mirror.configure(delete={"max_share": 1.0})
    killed_before(mirror, monkeypatch, finishing, "_remove_pages")
    assert mirror.projects == ["six"]
    mirror.sync()
    check(mirror)


def test_a_page_that_is_taken_back_and_mended_is_amended(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile]
) -> None:
    mirror.sync()
    mirror.path(held[0]).write_bytes(b"rot")
    assert verify(mirror, repair=True).state == "completed"
    check(mirror)


def test_a_verification_says_nothing_of_what_is_known_to_be_stale(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile]
) -> None:
    """Pages are written, and the run ended before the root index was."""
    everything = list(Stage)

    def without_the_end(run: Run) -> None:
        def call(run: Run, stage: Stage, batch: Batch) -> None:
            if stage in everything and (batch.projects or stage is not Stage.PUBLISH):
                sequence.perform(run, stage, batch)

        sequence.sync(run, call)

    mirror.sync(work=without_the_end, sound=False)
    assert mirror.query("SELECT name FROM projects WHERE root_entry_stale")[0]["name"] == "six"
    result: Summary = verify(mirror)
    assert result.failures == []
    mirror.sync()
    check(mirror)
