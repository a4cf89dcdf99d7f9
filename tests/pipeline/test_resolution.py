"""`[select] dependencies = "resolved"`: exactly what uv chooses is mirrored, and kept as a lock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pypimirror.catalog.states import SHARD
from pypimirror.check.remedies import Wish
from pypimirror.cli import errors
from pypimirror.cli.errors import Exit
from pypimirror.domain.model import ProjectName, Stage
from pypimirror.pipeline import sequence
from pypimirror.pipeline.context.reporter import LogReporter
from pypimirror.pipeline.executors import joining
from pypimirror.pipeline.executors.loop import Call, WorkOff
from pypimirror.pipeline.preview import remedy
from pypimirror.pipeline.preview.explain import explain
from pypimirror.pipeline.run import Run
from pypimirror.select.locks import registry
from tests import buckets
from tests.corpus.build import make_sdist, make_wheel
from tests.databases import POSTGRESQL, SQLITE
from tests.mirror import Mirror
from tests.pipeline.conftest import MakeMirror
from tests.simulator import Simulator, Status
from tests.storage.s3.mirrors import InBucket

SIX = "six-{}-py3-none-any.whl"


def add(simulator: Simulator, project: str, version: str, *requires: str, **more: Any) -> None:
    name, content = make_wheel(project, version, requires=list(requires), **more)
    simulator.add_file(project, name, content, core_metadata=True)


@pytest.fixture
def offered(simulator: Simulator) -> Simulator:
    """An application, with something that only Windows needs, and what nobody does."""
    for version in ("1.0", "2.0"):
        add(simulator, "app", version, "six>=1", "colorama; sys_platform == 'win32'")
        add(simulator, "six", version)
    add(simulator, "colorama", "1.0")
    add(simulator, "idna", "1.0")
    return simulator


def select(mirror: Mirror, *projects: str, **more: Any) -> None:
    mirror.sections["select"] = {}
    mirror.configure(select={"projects": list(projects), "dependencies": "resolved", **more})


def kept(mirror: Mirror) -> dict[str, list[str]]:
    directory = mirror.root / ".pypimirror" / "resolved"
    return {
        path.name: [str(release) for release in registry.read(path).releases]
        for path in sorted(directory.iterdir())
    }


def test_exactly_what_is_resolved_is_mirrored_and_kept_as_a_lock(
    mirror: Mirror, offered: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pypimirror")
    select(mirror, "app")
    assert mirror.sync().state == "completed"
    assert mirror.projects == ["app", "colorama", "six"]
    assert mirror.files("six") == [SIX.format("2.0")]
    assert kept(mirror) == {"pylock.projects.toml": ["app 2.0", "colorama 1.0", "six 2.0"]}
    path = mirror.root / ".pypimirror" / "resolved" / "pylock.projects.toml"
    assert f"kept in {path}" in caplog.text
    found = explain(mirror.config, "six").verdict
    assert found.rule.startswith(f"{path}:")
    assert found.fact == "names six 2.0"


def test_each_sync_resolves_anew_both_ways(mirror: Mirror, offered: Simulator) -> None:
    select(mirror, "app")
    mirror.sync()
    add(offered, "app", "3.0", "idna")
    mirror.sync()
    assert mirror.projects == ["app", "idna"]
    assert mirror.files("app") == ["app-3.0-py3-none-any.whl"]


def test_a_requirements_file_is_a_set_of_its_own_and_globs_select_as_ever(
    mirror: Mirror, offered: Simulator
) -> None:
    (mirror.base / "old.txt").write_text("app==1.0\n-c narrow.txt\n")
    (mirror.base / "narrow.txt").write_text("six<2\n")
    select(mirror, "-r old.txt", "app", "id*")
    assert mirror.sync().state == "completed"
    assert mirror.projects == ["app", "colorama", "idna", "six"]
    assert mirror.files("six") == [SIX.format("1.0"), SIX.format("2.0")]
    assert kept(mirror) == {
        "pylock.old.toml": ["app 1.0", "colorama 1.0", "six 1.0"],
        "pylock.projects.toml": ["app 2.0", "colorama 1.0", "six 2.0"],
    }
    select(mirror, "app")
    mirror.sync()
    assert list(kept(mirror)) == ["pylock.projects.toml"]
    assert mirror.files("six") == [SIX.format("2.0")]


def test_no_two_requirements_files_share_a_lock(mirror: Mirror, offered: Simulator) -> None:
    """The second of two files of the same name gets a number, which a third may have as its name.

    Then one lock replaced the other, and the releases of that were let go.
    """
    (mirror.base / "more").mkdir()
    for name, text in {"old-2.txt": "idna", "old.txt": "six", "more/old.txt": "colorama"}.items():
        (mirror.base / name).write_text(text)
    select(mirror, "-r old-2.txt", "-r old.txt", "-r more/old.txt")
    assert mirror.sync().state == "completed"
    assert mirror.projects == ["colorama", "idna", "six"]
    assert list(kept(mirror)) == ["pylock.old-2.toml", "pylock.old-3.toml", "pylock.old.toml"]


def test_only_what_the_declared_environments_need_is_mirrored(
    mirror: Mirror, offered: Simulator
) -> None:
    select(mirror, "app", python=["3.11", "3.13"], platforms=["manylinux_2_28_x86_64", "any"])
    mirror.sync()
    assert mirror.projects == ["app", "six"]


def test_where_one_solution_for_all_does_not_exist_each_environment_has_its_own(
    mirror: Mirror, offered: Simulator
) -> None:
    add(offered, "picky", "1.0", "colorama>9; sys_platform == 'darwin'", "six")
    select(mirror, "picky", python=["3.11"], platforms=["manylinux_2_28_x86_64", "win_amd64"])
    assert mirror.sync().state == "completed"
    assert mirror.projects == ["picky", "six"]
    assert list(kept(mirror)) == [
        "pylock.projects-3-11-manylinux_2_28_x86_64.toml",
        "pylock.projects-3-11-win_amd64.toml",
    ]


def test_where_resolution_fails_the_run_does_and_nothing_is_removed(
    mirror: Mirror, offered: Simulator
) -> None:
    select(mirror, "app")
    mirror.sync()
    before, resolved = mirror.served(), kept(mirror)
    select(mirror, "app", "six>=9")
    result = mirror.sync()
    assert result.state == "failed"
    assert "[select] projects: No solution found" in result.message
    assert "the last resolution stays" in result.message
    assert [f.reason.value for f in result.failures] == ["configuration"]
    assert errors.of_result(result) == Exit.USAGE
    assert ".. " not in result.message
    assert (mirror.served(), kept(mirror)) == (before, resolved)
    select(mirror, "app")
    offered.fault("/simple/*", Status(503))
    result = mirror.sync()
    assert (result.state, errors.of_result(result)) == ("failed", Exit.STOPPED)
    assert [f.reason.value for f in result.failures] == ["connection"]
    assert (mirror.served(), kept(mirror)) == (before, resolved)


def test_what_a_requirements_file_has_in_vain_is_told_once(
    mirror: Mirror, offered: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    (mirror.base / "r.txt").write_text("--index-url https://example.org/simple\napp\n")
    select(mirror, "-r r.txt")
    mirror.sync()
    told = [record.message for record in caplog.records if "--index-url" in record.message]
    assert told == [
        f"{mirror.base}/r.txt:1: --index-url is ignored: a mirror asks what [[upstream]] names"
    ]


def test_a_dry_run_resolves_and_keeps_nothing(
    mirror: Mirror, offered: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    select(mirror, "app")
    mirror.sync()
    before = kept(mirror)
    add(offered, "six", "3.0")
    caplog.clear()
    caplog.set_level("INFO", "pypimirror")
    planned = mirror.plan()
    assert "3 releases resolved" in caplog.text
    assert "kept in" not in caplog.text
    assert [file.file for file in planned.fetch] == [SIX.format("3.0")]
    assert kept(mirror) == before


def test_a_sync_of_one_project_uses_what_is_kept(mirror: Mirror, offered: Simulator) -> None:
    select(mirror, "app")
    mirror.sync()
    add(offered, "six", "3.0")
    mirror.sync("six")
    assert mirror.files("six") == [SIX.format("2.0")]


def test_upstreams_are_asked_in_their_order(
    make_mirror: MakeMirror, offered: Simulator, second: Simulator
) -> None:
    add(second, "internal", "1.0", "app", "six")
    add(second, "six", "9.0")  # the first that has a project owns it
    mirror = make_mirror(offered, second)
    select(mirror, "internal")
    assert mirror.sync().state == "completed"
    assert mirror.projects == ["app", "colorama", "internal", "six"]
    assert mirror.files("six") == [SIX.format("2.0")]


def test_a_login_is_given_to_uv_and_not_kept(mirror: Mirror, offered: Simulator) -> None:
    mirror.upstreams[0] |= {"username": "me", "password": "se cret"}
    select(mirror, "app")
    mirror.sync()
    asked = [request for request in offered.requests if request.path == "/simple/app/"]
    assert any(request.headers.get("authorization") for request in asked)
    (path,) = (mirror.root / ".pypimirror" / "resolved").iterdir()
    assert "cret" not in path.read_text()


def test_what_uv_leaves_out_is_brought_by_a_setting_and_not_by_the_kept_lock(
    mirror: Mirror, offered: Simulator
) -> None:
    """Nobody can let a file into a lock that each sync writes anew."""
    select(mirror, "app")
    mirror.sync()
    offered.add_file("six", *make_sdist("six", "2.0"))
    name = ProjectName("six")
    wish = Wish(name, "==2.0", lambda each: each.endswith(".tar.gz"), "Python 3.13, win_amd64")
    (found,) = remedy.find(mirror.config, [wish])
    assert found.line is not None
    assert 'dependencies = "all"' in found.line
    assert "let it in" not in found.line


def test_a_host_that_only_a_page_names_is_not_asked_and_the_run_says_so(
    mirror: Mirror, offered: Simulator, second: Simulator
) -> None:
    """Promise: `hosts` binds uv too; it once asked every host that a page named."""
    name, content = make_wheel("six", "3.0")
    file = second.add_file("six", name, content, core_metadata=True)
    link = f'<a href="{second.root}{file.path}" data-core-metadata="true">{name}</a>'
    offered.page("six", link, "text/html")
    select(mirror, "app")
    result = mirror.sync()
    assert (result.state, errors.of_result(result)) == ("failed", Exit.USAGE)
    assert f"{second.root} is not a host of the upstream 'sim0'" in result.message
    assert "set in the [[upstream]] 'sim0': hosts = [\"127.0.0.1\"]" in result.message
    assert second.requests == []
    mirror.upstreams[0]["hosts"] = ["127.0.0.1"]
    select(mirror, "app")
    assert mirror.sync().state == "completed"
    assert mirror.files("six") == [name]


def test_a_file_of_this_machine_that_a_page_names_ends_the_run(
    mirror: Mirror, offered: Simulator, tmp_path: Path
) -> None:
    """Promise: what an upstream says chooses no path; uv reads such a file past every proxy."""
    name, content = make_wheel("six", "3.0")
    (tmp_path / name).write_bytes(content)
    offered.page("six", f'<a href="{(tmp_path / name).as_uri()}">{name}</a>', "text/html")
    select(mirror, "app")
    result = mirror.sync()
    assert result.state == "failed"
    assert f"a page of the index names a file of this machine, file://{tmp_path}" in result.message
    assert not (mirror.root / ".pypimirror" / "resolved").exists()


def test_nothing_to_resolve_is_a_mistake(mirror: Mirror, offered: Simulator) -> None:
    select(mirror, "id*")
    result = mirror.sync()
    assert result.state == "failed"
    assert '"resolved" needs names or requirements in select.projects' in result.message


def test_a_resolution_that_was_damaged_is_made_anew(mirror: Mirror, offered: Simulator) -> None:
    select(mirror, "app")
    mirror.sync()
    before = kept(mirror)
    path = mirror.root / ".pypimirror" / "resolved" / "pylock.projects.toml"
    path.write_text("damaged")
    assert mirror.sync().state == "completed"
    assert kept(mirror) == before


# Several machines, each with a private directory of its own


@pytest.fixture(params=[SQLITE, POSTGRESQL])
def machines(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    offered: Simulator,
    seaweed: buckets.Server,
    keys_of_the_bucket: None,
) -> tuple[Mirror, Mirror]:
    """Two machines that share a catalog and a bucket."""
    near = InBucket(tmp_path / "near", offered, seaweed.bucket()).mirror
    if request.param == POSTGRESQL:
        databases = request.getfixturevalue("postgresql")
        near.configure(mirror={"catalog": databases.of(near.base)})
    select(near, "app")
    far = Mirror(tmp_path / "far", offered, **near.sections)
    far.configure(mirror={"catalog": near.catalog_url})
    return near, far


def test_a_worker_on_another_machine_has_the_resolution_of_the_run(
    machines: tuple[Mirror, Mirror],
) -> None:
    """It refused to work, because its selection was another one."""
    near, far = machines

    @contextmanager
    def executor(call: Call) -> Iterator[WorkOff]:
        def work_off(run: Run, stages: Sequence[Stage], number: int, small_ends: bool) -> int:
            joined = joining.join(
                far.config,
                run.name,
                executor=SHARD,
                worker="7",
                agreed=joining.told(run),
                reporter=LogReporter(),
            )
            with joined as (other, loop):
                loop.work_off(other, sequence.perform, tuple(stages), 1, small_ends=True)
            return number

        yield work_off

    assert near.sync(work=lambda run: sequence.sync(run, executor=executor)).state == "completed"
    (row,) = near.query("SELECT projects FROM workers")
    assert row["projects"] == 3
    assert not (far.root / ".pypimirror" / "resolved").exists()


def test_another_machine_goes_on_with_the_last_resolution(
    machines: tuple[Mirror, Mirror], offered: Simulator
) -> None:
    """It resolved anew, or did not know what was resolved."""
    near, far = machines
    near.sync()
    add(offered, "six", "3.0")
    offered.forget()
    assert far.sync("six").state == "completed"
    assert not [request for request in offered.requests if "/app/" in request.path]
    assert explain(far.config, "six").verdict.fact == "names six 2.0"
    far.sync()
    assert explain(near.config, "six").verdict.fact == "names six 3.0"
