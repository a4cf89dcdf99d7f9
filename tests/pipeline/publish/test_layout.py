"""`layout = "pypi"`: the upstream's own directories, which never lead two files to one place."""

from __future__ import annotations

import pytest

from tests.mirror import Mirror, offer
from tests.simulator import Simulator

HASHED = f"packages/ab/cd/{'0' * 60}"


@pytest.fixture(autouse=True)
def layout(mirror: Mirror) -> None:
    mirror.configure(mirror={"layout": "pypi"})


def test_the_upstreams_directories_are_kept(mirror: Mirror) -> None:
    with Simulator(layout="pypi") as simulator:
        (gone, kept) = offer(simulator, "six", "1.0", "1.1")
        copy = Mirror(mirror.base / "copy", simulator, **mirror.sections)
        copy.sync()
        assert (copy.root / gone.path.lstrip("/")).read_bytes() == gone.content
        assert (copy.root / kept.path.lstrip("/")).read_bytes() == kept.content
        gone.remove()
        copy.sync()
        assert not (copy.root / gone.path.lstrip("/")).parent.exists()
        assert copy.files("six") == [kept.filename]


def test_a_directory_that_is_no_hash_is_not_taken_over(
    mirror: Mirror, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    mirror.sync()
    assert mirror.holds(file)


def test_a_file_keeps_its_place_when_the_layout_changes(
    mirror: Mirror, simulator: Simulator
) -> None:
    mirror.configure(mirror={"layout": "project"})
    with Simulator(layout="pypi") as upstream:
        (old,) = offer(upstream, "six", "1.0")
        copy = Mirror(mirror.base / "copy", upstream, **mirror.sections)
        copy.sync()
        copy.configure(mirror={"layout": "pypi"})
        (new,) = offer(upstream, "six", "1.1")
        copy.sync()
        assert copy.holds(old)
        assert (copy.root / new.path.lstrip("/")).exists()
        assert upstream.downloads(old.filename) == 1


def test_an_upstream_cannot_lead_files_of_two_projects_to_one_place(
    mirror: Mirror, simulator: Simulator
) -> None:
    """ "foo-bar-1.zip" may be a file of "foo" and of "foo-bar"; the directory is the upstream's."""
    for project, content in (("foo", b"one"), ("foo-bar", b"two")):
        path = f"/{project}/{HASHED}/foo-bar-1.zip"
        simulator.serve(path, content)
        simulator.add_file(project, "foo-bar-1.zip", content, url=path)
    mirror.sync()
