"""The closure grows from pages and core metadata alone; then all files are fetched together."""

from __future__ import annotations

import json

import pytest

from pypimirror.catalog.queries.closure import requirements
from pypimirror.pipeline.closure import growing
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.preview.explain import explain
from pypimirror.pipeline.run import Run
from tests.corpus.build import core_metadata, make_wheel
from tests.mirror import Mirror, reasons
from tests.pipeline.closure.test_rounds import PYTHON, sdist, wheel
from tests.simulator import IndexFile, Simulator, Status


@pytest.fixture
def closing(mirror: Mirror) -> Mirror:
    """A mirror of one project and all that it needs."""
    mirror.select("app", dependencies="all", python=PYTHON)
    return mirror


def chain(simulator: Simulator, *projects: str) -> list[IndexFile]:
    """Offer wheels of which each requires the next."""
    needed = [*projects[1:], None]
    return [
        wheel(simulator, project, "1.0", *([after] if after else []))
        for project, after in zip(projects, needed, strict=True)
    ]


def asked(simulator: Simulator) -> list[str]:
    """What was asked for, in order: pages by their project, files by their names."""
    return [request.path.rstrip("/").rpartition("/")[2] for request in simulator.requests]


def test_files_come_after_the_pages_and_the_core_metadata_of_all_that_is_needed(
    closing: Mirror, simulator: Simulator
) -> None:
    files = chain(simulator, "app", "one", "two", "three")
    result = closing.sync()
    assert result.state == "completed" and closing.projects == ["app", "one", "three", "two"]
    app, *others = (file.filename for file in files)
    # What the configuration names is fetched at once: its bytes say what it requires.
    rounds = [
        each
        for name in ("one", "two", "three")
        for each in (name, f"{name}-1.0-py3-none-any.whl.metadata")
    ]
    order = asked(simulator)
    assert order[: 2 + len(rounds)] == ["app", app, *rounds]
    assert sorted(order[2 + len(rounds) :]) == sorted(others)
    simulator.empty_log()
    assert closing.sync().state == "completed"
    assert sorted(asked(simulator)) == ["app", "one", "three", "two"]  # pages alone


def test_core_metadata_with_another_digest_is_a_failure_and_is_not_used(
    closing: Mirror, simulator: Simulator
) -> None:
    chain(simulator, "app", "lib", "right")
    wheel(simulator, "wrong", "1.0")
    (bad,) = simulator.project("lib").files
    bad.metadata = core_metadata("lib", "1.0", requires=["wrong"])
    result = closing.sync()
    assert result.state == "incomplete"
    assert reasons(result.failures) == {bad.filename: "digest-mismatch"}
    assert closing.projects == ["app", "lib", "right"]  # as the wheel itself says
    assert simulator.count(f"*/{bad.filename}.metadata") == 1
    assert closing.sync().state == "completed"
    assert simulator.count(f"*/{bad.filename}.metadata") == 1


def test_what_a_wheel_contains_counts_more_than_what_its_upstream_announces(
    closing: Mirror, simulator: Simulator
) -> None:
    wheel(simulator, "app", "1.0", "lib")
    made = make_wheel("lib", "1.0", requires=["right"])
    said = core_metadata("lib", "1.0", requires=["wrong"])
    liar = simulator.add_file("lib", *made, core_metadata=said)
    for name in ("right", "wrong"):
        wheel(simulator, name, "1.0")
    result = closing.sync()
    assert reasons(result.failures) == {liar.filename: "metadata-mismatch"}
    assert closing.projects == ["app", "lib", "right"]


def test_an_upstream_without_core_metadata_is_followed_by_its_files(
    closing: Mirror, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    files = chain(simulator, "app", "one", "two", "three")
    for file in files[:2]:
        file.core_metadata = None
    simulator.fault(f"/packages/two/{files[2].filename}.metadata", Status(404))
    result = closing.sync()
    assert result.state == "completed" and result.failures == []
    assert closing.projects == ["app", "one", "three", "two"]
    assert "core metadata of 1 file cannot be read, so the bytes will be: two-1.0" in caplog.text
    assert simulator.count("*/two-1.0*.metadata") == 1


@pytest.mark.parametrize("round_", [1, 2, 3])
def test_killed_in_any_round_the_next_run_goes_on(
    closing: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, round_: int
) -> None:
    files = chain(simulator, "app", "one", "two", "three")
    rounds = []

    def dying(run: Run, batch: Batch) -> None:
        rounds.append(batch)
        if len(rounds) == round_:
            raise RuntimeError("killed")
        discover(run, batch)

    discover = growing.discover
    with monkeypatch.context() as patched:
        patched.setattr(growing, "discover", dying)
        with pytest.raises(RuntimeError, match="killed"):
            closing.sync(sound=False)
    assert closing.sync().state == "completed"
    assert closing.projects == ["app", "one", "three", "two"]
    assert [simulator.downloads(file.filename) for file in files] == [1, 1, 1, 1]


def test_a_round_reads_only_what_is_new_in_it(
    closing: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The closure was computed anew from the whole catalog in each round."""
    chain(simulator, "app", "one", "two", "three")
    offered, read = requirements.offered, []

    def counted(connection, ids=None):  # type: ignore[no-untyped-def]
        found = list(offered(connection, ids))
        read.append(sorted(file.project for file in found))
        return iter(found)

    monkeypatch.setattr(requirements, "offered", counted)
    assert closing.sync().state == "completed"
    assert read == [["app"], ["one"], ["two"], ["three"], ["app", "one", "three", "two"]]


def test_a_page_is_read_again_only_if_it_has_more_of_what_is_needed(
    closing: Mirror, simulator: Simulator
) -> None:
    wheel(simulator, "app", "1.0", "lib>=2", "one")
    for version in ("1.0", "2.0", "3.0"):
        wheel(simulator, "lib", version)
    wheel(simulator, "one", "1.0", "lib>=1.5", "two")  # no more than are here
    wheel(simulator, "two", "1.0", "lib==1.0")
    assert closing.sync().state == "completed"
    assert len(closing.files("lib")) == 3
    assert simulator.count("/simple/lib/") == 2
    (needed,) = closing.query("SELECT versions FROM needs WHERE project = 'lib'")
    assert json.loads(needed["versions"]) == ["==1.0", ">=1.5"]
    assert closing.sync().counts["files_found"] == 0


def test_what_an_upstream_takes_back_between_two_rounds_is_needed_no_more(
    closing: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel(simulator, "app", "1.0", "lib>=2", "other")
    wheel(simulator, "lib", "1.0")
    new = wheel(simulator, "lib", "2.0", "gone")
    wheel(simulator, "gone", "1.0", "lib")  # so the page of lib is read again
    wheel(simulator, "other", "1.0")
    discover = growing.discover

    def discovering(run: Run, batch: Batch) -> None:
        discover(run, batch)
        if simulator.count("/simple/gone/") and new in simulator.project("lib").files:
            new.remove()

    monkeypatch.setattr(growing, "discover", discovering)
    assert closing.sync().state == "completed"
    monkeypatch.undo()
    closing.sync()
    assert closing.projects == ["app", "lib", "other"]
    assert closing.files("lib") == []


def test_core_metadata_that_a_lost_catalog_left_is_not_fetched_again(
    closing: Mirror, simulator: Simulator
) -> None:
    chain(simulator, "app", "one", "two")
    closing.sync()
    closing.lose_catalog()
    simulator.empty_log()
    assert closing.sync().state == "completed"
    assert closing.projects == ["app", "one", "two"]
    assert simulator.count("/packages/*") == 0


def test_build_requirements_follow_when_the_sdists_are_here(
    closing: Mirror, simulator: Simulator
) -> None:
    wheel(simulator, "app", "1.0", "lib")
    sdist(simulator, "lib", "1.0", "more", build='"backend"')
    for name in ("more", "backend"):
        wheel(simulator, name, "1.0")
    closing.configure(select={"build_dependencies": True})
    assert closing.sync().state == "completed"
    assert closing.projects == ["app", "backend", "lib", "more"]
    assert "needed by lib 1.0" in explain(closing.config, "backend").verdict.fact
