"""Dependencies of what is selected: brought here in rounds, let go when nobody needs them."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from pypimirror.catalog.database import Catalog
from pypimirror.catalog.marks import CLOSURE
from pypimirror.catalog.queries import marks
from pypimirror.pipeline.preview import execute_plan
from pypimirror.pipeline.preview.explain import explain
from pypimirror.pipeline.preview.plan import Plan
from pypimirror.pipeline.run import Run
from tests.corpus.build import core_metadata, make_sdist, make_wheel, pack_tar_gz, stem
from tests.mirror import Mirror, reasons
from tests.pipeline.conftest import MakeMirror
from tests.simulator import IndexFile, Simulator, Status

PYTHON = ["3.11", "3.12", "3.13", "3.14"]


def wheel(
    simulator: Simulator, project: str, version: str, *requires: str, python: str | None = None
) -> IndexFile:
    """Offer a wheel that requires something."""
    made = make_wheel(project, version, requires=requires, requires_python=python)
    return simulator.add_file(project, *made, core_metadata=True)


def sdist(
    simulator: Simulator, project: str, version: str, *requires: str, build: str | None = None
) -> IndexFile:
    """Offer an sdist with static metadata, and what builds it."""
    start = stem(project, version)
    said = core_metadata(project, version, requires=requires)
    contents = {f"{start}/PKG-INFO": said.replace(b"Version: 2.1", b"Version: 2.4")}
    if build is not None:
        contents[f"{start}/pyproject.toml"] = f"[build-system]\nrequires = [{build}]\n".encode()
    return simulator.add_file(project, f"{start}.tar.gz", pack_tar_gz(contents))


@pytest.fixture
def closing(mirror: Mirror) -> Mirror:
    """A mirror of one project and all that it needs."""
    mirror.select("app", dependencies="all", python=PYTHON)
    return mirror


def test_what_is_needed_comes_to_the_fixed_point_in_allowed_versions(
    closing: Mirror, simulator: Simulator
) -> None:
    wheel(simulator, "app", "1.0", "http-x>=2; python_version >= '3.12'", "never; os_name == 'x'")
    for version in ("1.0", "2.0"):
        wheel(simulator, "http-x", version, "any-io", "old; python_version < '3.12'")
    wheel(simulator, "any-io", "4.0", "app")
    wheel(simulator, "old", "1.0")
    wheel(simulator, "never", "1.0")
    wheel(simulator, "unrelated", "1.0")
    result = closing.sync()
    assert result.state == "completed"
    assert closing.projects == ["any-io", "app", "http-x"]
    assert closing.files("http-x") == ["http_x-2.0-py3-none-any.whl"]
    assert result.counts["projects_needed"] == 2
    simulator.empty_log()
    again = closing.sync()
    assert again.counts["projects_needed"] == 0 and again.counts["files_found"] == 0
    assert simulator.count() == 3  # pages alone


def test_extras_are_followed_where_they_are_asked_for(mirror: Mirror, simulator: Simulator) -> None:
    wheel(simulator, "app", "1.0", "lib[all]", "app-test; extra == 'test'")
    wheel(simulator, "lib", "1.0", "lib[a,b]; extra == 'all'", "x; extra == 'a'", "y; extra == 'c'")
    for name in ("app-test", "x", "y"):
        wheel(simulator, name, "1.0")
    mirror.select("app", dependencies="all")
    mirror.sync()
    assert mirror.projects == ["app", "lib", "x"]
    mirror.select("app[test]", dependencies="all")
    mirror.sync()
    assert mirror.projects == ["app", "app-test", "lib", "x"]


def test_what_nobody_needs_any_more_leaves_as_if_deselected(
    mirror: Mirror, simulator: Simulator
) -> None:
    wheel(simulator, "app", "1.0", "lib>=1", "shared")
    wheel(simulator, "tool", "1.0", "lib>=2", "shared")
    one, _ = (wheel(simulator, "lib", version) for version in ("1.0", "2.0"))
    wheel(simulator, "shared", "1.0")
    mirror.select("app", "tool", dependencies="all")
    mirror.sync()
    assert len(mirror.files("lib")) == 2
    mirror.select("tool", dependencies="all")
    assert mirror.sync().state == "completed"
    assert mirror.projects == ["lib", "shared", "tool"]
    assert mirror.files("lib") == ["lib-2.0-py3-none-any.whl"]
    assert not mirror.path(one).exists()
    mirror.select("tool")
    assert mirror.sync().state == "completed"
    assert mirror.projects == ["tool"]


def test_nothing_leaves_while_something_is_unknown_because_of_a_failure(
    mirror: Mirror, simulator: Simulator
) -> None:
    wheel(simulator, "app", "1.0", "gone")
    wheel(simulator, "tool", "1.0")
    wheel(simulator, "gone", "1.0")
    mirror.select("app", "tool", dependencies="all")
    mirror.sync()
    simulator.fault("/simple/tool/", Status(500))
    mirror.select("tool", dependencies="all")
    assert mirror.sync().state == "incomplete"
    assert mirror.projects == ["gone", "tool"]
    simulator.heal()
    assert mirror.sync().state == "completed"
    assert mirror.projects == ["tool"]


def test_an_upstream_that_fails_within_a_round_loses_nothing(
    closing: Mirror, simulator: Simulator
) -> None:
    wheel(simulator, "app", "1.0", "one", "two")
    wheel(simulator, "one", "1.0", "three")
    bad = wheel(simulator, "two", "1.0", "four")
    for name in ("three", "four"):
        wheel(simulator, name, "1.0")
    simulator.fault(bad, Status(500))
    simulator.fault(f"/packages/two/{bad.filename}.metadata", Status(500))
    result = closing.sync()
    assert reasons(result.failures) == {bad.filename: "http-status"}
    assert closing.projects == ["app", "one", "three", "two"]
    simulator.heal()
    assert closing.sync(retry=result.run).state == "completed"
    assert closing.projects == ["app", "four", "one", "three", "two"]


def test_what_upstreams_take_back_is_for_the_guard(closing: Mirror, simulator: Simulator) -> None:
    """A broken page of one project must not take the closure away."""
    first = wheel(simulator, "app", "1.0", *(f"lib{number}" for number in range(9)))
    for number in range(9):
        wheel(simulator, f"lib{number}", "1.0")
    closing.sync()
    before = closing.projects
    first.remove()
    wheel(simulator, "app", "2.0")
    closing.configure(delete={"max_share": 0.2})
    assert closing.sync().state == "completed"  # one file of ten may go
    assert reasons(closing.sync().failures) == {"": "deletion-guard"}
    assert closing.projects == before
    closing.configure(delete={"max_share": 1.0})
    assert closing.sync().state == "completed"
    assert closing.projects == ["app"]


def test_exclude_wins_and_what_is_missing_is_told(
    closing: Mirror, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    wheel(simulator, "app", "1.0", "lib", "none", "other")
    for name in ("lib", "other"):
        wheel(simulator, name, "1.0")
    closing.select("app", dependencies="all", exclude=["lib"])
    assert closing.sync().state == "completed"
    assert closing.projects == ["app", "other"]
    assert "2 projects are needed and not mirrored" in caplog.text
    assert "lib is needed by app 1.0, and select.exclude leaves it out" in caplog.text
    assert "none is needed by app 1.0, and no upstream has it" in caplog.text
    catalog = Catalog.open(closing.config.catalog_url, reading=True)
    with contextlib.closing(catalog), catalog.read() as connection:
        figures = marks.read(connection, CLOSURE)
    assert figures is not None
    assert (figures.projects, figures.missing) == (1, 2)  # only `other` is here
    told = explain(closing.config, "none").verdict
    assert "no upstream has" in told.fact and "needed by app 1.0" in told.fact


def test_a_requirement_that_cannot_be_read_is_told_once_for_all_wheels_of_a_release(
    closing: Mirror, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    for tag in ("py3-none-any", "cp312-cp312-win_amd64"):
        made = make_wheel("app", "1.0", requires=["lib >= and more"], tag=tag)
        simulator.add_file("app", *made, core_metadata=True)
    assert closing.sync().state == "completed"
    assert "1 requirement of releases that are needed cannot be read: app 1.0" in caplog.text


def test_sdists_count_as_far_as_they_tell_and_else_they_are_listed(
    closing: Mirror, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    sdist(simulator, "app", "1.0", "lib", build='"backend>=1"')
    simulator.add_file("lib", *make_sdist("lib", "1.0", requires=["other"]))
    for name in ("other", "backend", "setuptools"):
        wheel(simulator, name, "1.0")
    assert closing.sync().state == "completed"
    assert closing.projects == ["app", "lib"]
    assert "of 1 release it is not known what they require: lib 1.0" in caplog.text
    closing.configure(select={"build_dependencies": True})
    assert closing.sync().state == "completed"
    assert closing.projects == ["app", "backend", "lib"]


def test_more_projects_than_are_allowed_end_the_run_and_remove_nothing(
    closing: Mirror, simulator: Simulator
) -> None:
    wheel(simulator, "app", "1.0", "a")
    for name, needed in ("ab", "bc", "cd"):
        wheel(simulator, name, "1.0", needed)
    closing.configure(select={"max_dependencies": 2})
    result = closing.sync()
    assert result.state == "failed"
    assert "more than 2 projects are needed" in result.message
    assert "c <- b 1.0 <- a 1.0 <- app 1.0" in result.message
    assert closing.projects == []  # the root index is what is written last
    closing.configure(select={"max_dependencies": 4})
    wheel(simulator, "d", "1.0")
    assert closing.sync().state == "completed"
    assert closing.projects == ["a", "app", "b", "c", "d"]


def test_switched_on_later_it_reads_what_is_here_and_asks_for_no_file_again(
    mirror: Mirror, simulator: Simulator
) -> None:
    app = wheel(simulator, "app", "1.0", "lib")
    wheel(simulator, "lib", "1.0")
    mirror.select("app")
    mirror.sync()
    mirror.select("app", dependencies="all")
    mirror.sync()
    assert mirror.projects == ["app", "lib"]
    assert simulator.downloads(app.filename) == 1


def test_a_run_of_one_project_brings_what_that_needs_and_lets_nothing_go(
    closing: Mirror, simulator: Simulator
) -> None:
    wheel(simulator, "app", "1.0", "one")
    wheel(simulator, "one", "1.0")
    closing.sync()
    wheel(simulator, "one", "2.0", "two")
    wheel(simulator, "two", "1.0")
    assert closing.sync("one").state == "completed"
    assert closing.projects == ["app", "one", "two"]


def test_a_dry_run_says_what_is_needed_as_far_as_that_is_known(
    closing: Mirror, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    wheel(simulator, "app", "1.0", "one")
    wheel(simulator, "one", "1.0", "two")
    silent = wheel(simulator, "two", "1.0", "three")
    wheel(simulator, "three", "1.0")
    assert sorted(e.project for e in closing.plan().fetch) == ["app", "one", "three", "two"]
    assert "is not known before they are here" not in caplog.text
    silent.core_metadata = None
    assert sorted(e.project for e in closing.plan().fetch) == ["app", "one", "two"]
    assert "is not known before they are here" in caplog.text
    closing.select("app", python=PYTHON)
    closing.sync()
    closing.select("app", dependencies="all", python=PYTHON)
    assert [entry.project for entry in closing.plan().fetch] == ["one", "two"]
    assert not closing.query("SELECT * FROM needs") and closing.projects == ["app"]


def test_files_that_pages_only_lead_to_count_by_what_their_upstream_says(
    closing: Mirror, simulator: Simulator
) -> None:
    wheel(simulator, "app", "1.0", "one")
    wheel(simulator, "one", "1.0", "two")
    wheel(simulator, "two", "1.0")
    closing.select("app", dependencies="all", metadata_only=["one", "app"])
    assert closing.sync().state == "completed"
    assert closing.projects == ["app", "one", "two"]
    assert [simulator.downloads(f"{n}-1.0-py3-none-any.whl") for n in ("app", "one")] == [0, 0]


def test_one_upstream_cannot_say_what_the_files_of_another_require(
    make_mirror: MakeMirror,
    simulator: Simulator,
    second: Simulator,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A digest of a file that nobody here has read says nothing about core metadata beside it."""
    wheel(simulator, "app", "1.0", "lib")
    victim = sdist(simulator, "lib", "1.0", "right")
    wheel(simulator, "right", "1.0")
    wheel(simulator, "wrong", "1.0")
    liar, plain = (wheel(second, name, "1.0", "wrong") for name in ("liar", "plain"))
    liar.digests = {"sha256": victim.sha256}
    liar.core_metadata = plain.core_metadata = True  # announced without a digest
    mirror = make_mirror(simulator, second)
    mirror.select("app", "liar", "plain", dependencies="all", metadata_only=["liar", "plain"])
    assert mirror.sync(sound=False).state == "completed"
    assert mirror.projects == ["app", "liar", "lib", "plain", "right"]
    assert "of 1 release it is not known what they require: plain 1.0" in caplog.text


def test_an_sdist_that_comes_here_after_pages_only_led_to_it_is_read(
    closing: Mirror, simulator: Simulator
) -> None:
    """That nobody could tell what it requires was remembered for good."""
    sdist(simulator, "app", "1.0", "lib")
    wheel(simulator, "lib", "1.0")
    closing.select("app", dependencies="all", metadata_only=["app"])
    assert closing.sync(sound=False).state == "completed"
    assert closing.projects == ["app"]
    closing.select("app", dependencies="all", metadata_only=[])
    assert closing.sync().state == "completed"
    assert closing.projects == ["app", "lib"]


@pytest.mark.parametrize("stop", ["before", "after"])
def test_killed_between_rounds_the_next_run_goes_on(
    closing: Mirror, simulator: Simulator, stop: str
) -> None:
    from pypimirror.domain.model import Problem, Stage
    from pypimirror.pipeline import sequence
    from pypimirror.pipeline.context.batch import Batch

    wheel(simulator, "app", "1.0", "one")
    wheel(simulator, "one", "1.0", "two")
    wheel(simulator, "two", "1.0")

    def dying(run: Run, stage: Stage, batch: Batch) -> Problem | None:
        closes = stage is Stage.DISCOVER and not batch.projects and batch.number
        if closes and stop == "before":
            raise RuntimeError("killed")
        problem = sequence.perform(run, stage, batch)
        if closes:
            raise RuntimeError("killed")
        return problem

    with pytest.raises(RuntimeError, match="killed"):
        closing.sync(work=lambda run: sequence.sync(run, dying), sound=False)
    assert closing.sync().state == "completed"
    assert closing.projects == ["app", "one", "two"]


def test_what_only_a_list_tells_of_is_followed_as_well(
    mirror: Mirror, simulator: Simulator
) -> None:
    wheel(simulator, "app-one", "1.0", "lib")
    wheel(simulator, "lib", "1.0")
    mirror.select("app-*", dependencies="all")
    mirror.sync()
    assert mirror.projects == ["app-one", "lib"]
    wheel(simulator, "lib", "2.0", "more")
    wheel(simulator, "more", "1.0")
    mirror.sync()
    assert mirror.projects == ["app-one", "lib", "more"]
    assert mirror.sync().counts["projects_changed"] == 0


def test_explain_says_who_needs_a_project_and_where(closing: Mirror, simulator: Simulator) -> None:
    wheel(simulator, "app", "3.9.1", "http-x", "lib; sys_platform == 'win32'", "out", "old<2")
    wheel(simulator, "http-x", "0.28.1", "any-io; python_version >= '3.12'")
    for name in ("any-io", "lib", "out"):
        wheel(simulator, name, "4.16")
    simulator.add_file("old", *make_sdist("old", "1.0"))
    closing.configure(
        select={"exclude": ["out"], "platforms": ["any", "linux_x86_64", "win_amd64"]}
    )
    assert closing.sync().failures == []
    assert closing.projects == ["any-io", "app", "http-x", "lib", "old"]

    def why(project: str) -> tuple[str, str]:
        found = explain(closing.config, project)
        (file,) = found.files or [None]
        return found.verdict.fact, file.verdict.fact if file is not None else ""

    said = "needed by http-x 0.28.1 (needed by app 3.9.1, selected), python 3.12\N{EN DASH}3.14"
    assert why("any-io") == (said, said)
    assert why("lib")[0].endswith("app 3.9.1 (selected), python 3.11\N{EN DASH}3.14 on win_amd64")
    assert "'out' names the project; needed by app 3.9.1 (selected)" in why("out")[0]
    assert "what it requires is not known: old-1.0.tar.gz has core metadata" in why("old")[1]
    assert why("app") == ("'app' names the project", "")


def test_a_plan_is_carried_out_as_it_is_and_the_next_sync_goes_on(
    closing: Mirror, simulator: Simulator
) -> None:
    wheel(simulator, "app", "1.0", "one")
    wheel(simulator, "one", "1.0", "two").core_metadata = None
    wheel(simulator, "two", "1.0")
    closing.select("app", python=PYTHON)
    closing.sync()
    closing.select("app", dependencies="all", python=PYTHON)
    plan = closing.plan()
    assert [entry.project for entry in plan.fetch] == ["one"]
    planned = execute_plan.read(write(closing, plan))
    assert closing.sync(work=lambda run: execute_plan.apply(run, planned)).state == "completed"
    assert closing.projects == ["app", "one"]
    closing.sync()
    assert closing.projects == ["app", "one", "two"]


def write(mirror: Mirror, plan: Plan) -> Path:
    """A file with a plan."""
    file = mirror.base / "plan.json"
    file.write_text(json.dumps(plan.as_json()))
    return file
