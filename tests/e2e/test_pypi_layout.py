"""`layout = "pypi"`: files are where the upstream has them, and install from there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.corpus.fetch import PIP_VERSIONS
from tests.e2e import trees
from tests.e2e.clients import call, installed, make_environment, pip, uv_pip
from tests.e2e.mirror import Mirror
from tests.e2e.serving import serve, static
from tests.simulator import Simulator

pytestmark = pytest.mark.timeout(300)  # for a machine with much else to do


@pytest.fixture
def pypi(corpus_directory: Path) -> Iterator[Simulator]:
    """An upstream with PyPI's paths: packages/<2>/<2>/<60>/<file>."""
    with Simulator(layout="pypi") as simulator:
        simulator.add_directory(corpus_directory)
        yield simulator


@pytest.mark.thorough
@pytest.mark.slow
def test_paths_are_those_of_the_upstream_and_install(
    pypi: Simulator, pip_wheels: dict[str, Path], tmp_path: Path
) -> None:
    mirror = Mirror(tmp_path / "home", pypi.url, {"mirror": {"layout": "pypi"}})
    mirror.sync()
    held = trees.contents(mirror.root, "packages")
    upstream = {path.lstrip("/"): bytes(f.content) for path, f in pypi.index.by_path.items()}
    assert {n: data for n, data in held.items() if not n.endswith(".metadata")} == upstream
    assert trees.check(mirror.root) == len(upstream)
    # A client's lock file that names the upstream's addresses fits with another host.
    for project in pypi.index.projects.values():
        for name, said in trees.offered(mirror.root, project.normalized).items():
            assert said["url"] == f"../..{project.file(name).quoted_path}"

    with serve(mirror) as served, static(mirror.root) as plain:
        for number, url in enumerate((served, plain, f"{mirror.root.as_uri()}/simple/")):
            python = make_environment(tmp_path / f"environment-{number}")
            newest = pip(pip_wheels[PIP_VERSIONS[-1]], "install", url, python)
            call(*newest, "--quiet", "python-dateutil")
            call(*uv_pip("install", url, python), "zope.event")
            found = installed(python)
            assert found.keys() == {"python-dateutil", "six", "zope-event", "setuptools"}


@pytest.mark.thorough
def test_a_mirror_with_pypis_paths_is_mirrored_to_the_same_tree(
    pypi: Simulator, tmp_path: Path
) -> None:
    settings: dict[str, dict[str, Any]] = {
        "mirror": {"layout": "pypi"},
        "select": {"projects": ["six", "zope.event"]},
    }
    first = Mirror(tmp_path / "first", pypi.url, settings)
    first.sync()
    with serve(first) as url:
        second = Mirror(tmp_path / "second", url, settings)
        second.sync()
    ours, theirs = trees.contents(first.root), trees.contents(second.root)
    assert trees.difference(ours, theirs) == {}


def test_paths_of_the_upstream_that_are_not_hashed_fall_back_to_the_projects(
    simulator: Simulator, corpus_directory: Path, tmp_path: Path
) -> None:
    path = next(corpus_directory.glob("six-1.16.0*.whl"))
    simulator.add_file("six", path.name, path)
    mirror = Mirror(tmp_path / "home", simulator.url, {"mirror": {"layout": "pypi"}})
    mirror.sync()
    assert (mirror.root / "packages/six" / path.name).read_bytes() == path.read_bytes()
    assert trees.check(mirror.root) == 1
