"""Upstreams that this project did not write: pypiserver and devpi-server, with real packages.

What a mirror of them has to be is known from the files that they were given.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from pypimirror.domain.filenames import version_of
from tests.corpus.fetch import PIP_VERSIONS
from tests.corpus.servers import devpi, pypiserver
from tests.e2e import trees
from tests.e2e.clients import call, installed, make_environment, pip, uv_pip
from tests.e2e.mirror import Mirror
from tests.e2e.serving import Recorder, serve
from tests.sampling import sample

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SERVERS = ("pypiserver sha256", "pypiserver md5", "devpi json", "devpi html")


def project_of(filename: str) -> str:
    """The project of a file of the corpus, by its name."""
    stem = re.split(r"-\d", filename)[0]
    return str(canonicalize_name(stem))


@pytest.fixture(params=sample(SERVERS, "pypiserver md5"))
def foreign(
    request: pytest.FixtureRequest,
    server_environment: Path,
    corpus_directory: Path,
    tmp_path: Path,
) -> Iterator[Recorder]:
    """A foreign server that has the corpus, with a note of what is asked of it."""
    server, _, form = request.param.partition(" ")
    state, packages = tmp_path / "state", tmp_path / "packages"
    state.mkdir()
    packages.mkdir()
    for path in corpus_directory.iterdir():
        if path.name[0] != ".":
            (packages / path.name).symlink_to(path)
    with ExitStack() as stack:
        if server == "pypiserver":
            url = stack.enter_context(pypiserver(packages, f"--hash-algo={form}"))
        else:
            url = stack.enter_context(devpi(packages, state))
        accept = "text/html" if form == "html" else None
        yield stack.enter_context(Recorder(url, accept))


@pytest.mark.thorough
def test_a_foreign_upstream_is_mirrored_completely_and_then_left_alone(
    foreign: Recorder, corpus_directory: Path, pip_wheels: dict[str, Path], tmp_path: Path
) -> None:
    files = [path for path in corpus_directory.iterdir() if path.name[0] != "."]
    mirror = Mirror(tmp_path / "home", foreign.url)
    counts = mirror.sync()["counts"]
    assert counts["files_downloaded"] == counts["files_verified"] == len(files)
    assert counts["bytes_downloaded"] == sum(path.stat().st_size for path in files)

    # Every file, to the byte, and on the page of its project.
    assert trees.check(mirror.root) == len(files)
    for path in files:
        project = project_of(path.name)
        held = mirror.root / "packages" / project / path.name
        assert held.read_bytes() == path.read_bytes()
        said = trees.offered(mirror.root, project)[path.name]
        assert said["hashes"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert version_of(path.name, project) is not None

    # No serials tell what has changed: every page is asked for again, and no file.
    before = trees.touches(mirror.root)
    foreign.forget()
    counts = mirror.sync()["counts"]
    assert counts["files_downloaded"] == counts["bytes_downloaded"] == 0
    assert counts["pages_written"] == counts["projects_changed"] == 0
    assert foreign.pages == sorted(foreign.paths)  # pages alone
    assert trees.touches(mirror.root) == before

    with serve(mirror) as url:
        python = make_environment(tmp_path / "environment")
        command = pip(pip_wheels[PIP_VERSIONS[-1]], "install", url, python)
        call(*command, "--quiet", "python-dateutil", "click", "--no-binary", "six")
        assert installed(python).keys() == {"python-dateutil", "six", "click"}
        call(*uv_pip("install", url, python), "zope.event")
        assert installed(python)["zope-event"] == "5.0"
