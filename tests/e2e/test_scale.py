"""Hundreds of requests at once, and thousands of projects, all of them right in the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.corpus.build import make_sdist, make_wheel
from tests.e2e import trees
from tests.e2e.mirror import Mirror
from tests.e2e.serving import Recorder, serve
from tests.simulator import Simulator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

CONNECTIONS = 1000
PROJECTS = 2000


@pytest.fixture
def large() -> Iterator[Simulator]:
    """Some thousand projects, each with a small wheel."""
    with Simulator() as simulator:
        for number in range(PROJECTS):
            name = f"project-{number:04}"
            simulator.add_file(name, *make_wheel(name, "1.0"))
        yield simulator


@pytest.fixture
def deep() -> Iterator[Simulator]:
    """Fewer projects with more small files each: each batch of projects has some thousand."""
    with Simulator() as simulator:
        for number in range(400):
            name = f"project-{number:04}"
            for version in range(3):
                simulator.add_file(name, *make_wheel(name, f"{version}.0"))
                simulator.add_file(name, *make_sdist(name, f"{version}.0"))
        yield simulator


@pytest.mark.thorough
def test_on_a_slow_line_hundreds_of_requests_run_at_once_and_never_more_than_allowed(
    deep: Simulator, tmp_path: Path
) -> None:
    settings = {"processes": 2, "connections": CONNECTIONS // 2, "timeout": 180}
    mirror = Mirror(tmp_path, deep.url, {"download": settings})
    files = len(deep.index.by_path)
    deep.latency = 0.3  # each answer takes so long, however many are asked for
    counts = mirror.sync()["counts"]
    # It begins with few, and more are worth it as long as more are fetched by them.
    assert CONNECTIONS // 5 < deep.peak_connections <= CONNECTIONS
    assert counts["files_downloaded"] == counts["files_verified"] == files
    assert counts["files_failed"] == 0
    assert trees.check(mirror.root) == files
    assert len(list((mirror.root / "simple").iterdir())) == 400 + 2
    assert all(deep.downloads(file.filename) == 1 for file in deep.index.by_path.values())


@pytest.mark.thorough
def test_of_thousands_of_projects_only_the_changed_ones_are_looked_at(
    large: Simulator, tmp_path: Path
) -> None:
    settings = {"download": {"processes": 2, "connections": 64}}
    mirror = Mirror(tmp_path / "first", large.url, settings)
    assert mirror.sync()["counts"]["projects_seen"] == PROJECTS
    assert trees.check(mirror.root) == PROJECTS
    before = trees.touches(mirror.root)

    large.forget()
    summary = mirror.sync()
    assert [request.path for request in large.requests] == ["/simple/"]
    assert summary["counts"]["pages_written"] == 0
    assert trees.touches(mirror.root) == before

    large.forget()
    changed = ["project-0007", "project-1234", "project-1999"]
    for name in changed:
        large.add_file(name, *make_wheel(name, "2.0"))
    large.delete_project("project-0001")
    assert mirror.sync()["counts"]["files_downloaded"] == len(changed)
    looked = {request.path for request in large.find("/simple/*")}
    assert looked == {"/simple/"} | {f"/simple/{n}/" for n in ["project-0001", *changed]}
    assert trees.check(mirror.root) == PROJECTS - 1 + len(changed)
    now = trees.touches(mirror.root)
    others = {path for path in before if path.split("/")[1] not in (*changed, "project-0001")}
    assert all(now[path] == before[path] for path in others if not path.startswith("simple/index."))

    # And the same of a mirror of this one.
    with serve(mirror) as url, Recorder(url) as recorder:
        second = Mirror(tmp_path / "second", recorder.url, settings)
        second.sync()
        large.add_file("project-0042", *make_wheel("project-0042", "2.0"))
        mirror.sync()
        recorder.forget()
        second.sync()
    # Whether the list has changed, then the list.
    assert recorder.pages == ["/simple/", "/simple/", "/simple/project-0042/"]
    assert trees.check(second.root) == PROJECTS - 1 + len(changed) + 1
    pages = (trees.contents(m.root, "simple") for m in (mirror, second))
    assert trees.difference(*pages) == {}
