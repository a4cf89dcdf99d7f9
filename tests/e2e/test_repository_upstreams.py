"""Upstreams that are in no registry: shadowmire's trees, and servers like Artifactory.

Both are made here, with real packages, from what is known of them; see `tests.corpus`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.corpus.artifactory import BASE, Artifactory
from tests.corpus.fetch import PIP_VERSIONS
from tests.corpus.shadowmire import make_tree
from tests.e2e import trees, upstream
from tests.e2e.clients import call, installed, make_environment, pip
from tests.e2e.mirror import Mirror, simple_page
from tests.e2e.serving import nginx, serve, static
from tests.sampling import sample
from tests.simulator import Simulator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LOGIN = ("reader@example.org", "p:w/d+")


def install(mirror: Mirror, pip_wheels: dict[str, Path], directory: Path) -> dict[str, str]:
    """Install from a mirror; what that brought."""
    with serve(mirror) as url:
        python = make_environment(directory)
        command = pip(pip_wheels[PIP_VERSIONS[-1]], "install", url, python)
        call(*command, "--quiet", "python-dateutil", "zope.event")
    return installed(python)


@pytest.mark.thorough
@pytest.mark.parametrize("server", sample(["static", "nginx", "files"], "static"))
def test_a_tree_of_shadowmire_is_mirrored_completely_and_then_left_alone(
    corpus_upstream: Simulator,
    corpus_mirror: Mirror,
    pip_wheels: dict[str, Path],
    tmp_path: Path,
    server: str,
) -> None:
    root = tmp_path / "tree"
    make_tree(root, corpus_upstream.index.projects.values())
    with ExitStack() as stack:
        if server == "files":
            url = f"{root.as_uri()}/simple/"
        elif server == "static":
            url = stack.enter_context(static(root))
        else:
            (tmp_path / "nginx").mkdir()
            url = stack.enter_context(nginx(root, tmp_path / "nginx"))
        mirror = Mirror(tmp_path / "home", url)
        mirror.sync()
        ours, theirs = (trees.contents(m.root, "packages") for m in (mirror, corpus_mirror))
        assert trees.difference(ours, theirs) == {}
        trees.check(mirror.root)
        yanked = {f["filename"]: f.get("yanked") for f in simple_page(mirror, "colorama")["files"]}
        reason = upstream.YANK_REASON if server == "static" else True  # its JSON loses it
        assert yanked["colorama-0.4.6.tar.gz"] == reason
        before = trees.touches(mirror.root)
        counts = mirror.sync()["counts"]
        assert counts["files_downloaded"] == counts["pages_written"] == 0
        assert trees.touches(mirror.root) == before
    if server == "nginx":
        assert install(mirror, pip_wheels, tmp_path / "environment")["zope-event"] == "5.0"


def test_a_project_whose_files_shadowmire_does_not_hold_is_told_and_stops_no_other(
    corpus_upstream: Simulator, tmp_path: Path
) -> None:
    root = tmp_path / "tree"
    projects = [corpus_upstream.project(name) for name in ("idna", "six", "toml")]
    make_tree(root, projects, without=["six"])
    mirror = Mirror(tmp_path / "home", f"{root.as_uri()}/simple/")
    summary = mirror.sync(code=1)
    assert {failure["project"] for failure in summary["failures"]} == {"six"}
    assert {failure["reason"] for failure in summary["failures"]} == {"missing"}
    assert trees.check(mirror.root) == summary["counts"]["files_downloaded"] > 5


@pytest.fixture
def artifactory(corpus_directory: Path) -> Iterator[Artifactory]:
    files = [path for path in corpus_directory.iterdir() if path.name[0] != "."]
    with Artifactory(files, *LOGIN) as server:
        yield server


@pytest.fixture
def small(corpus_directory: Path) -> Iterator[Artifactory]:
    """The same with three projects."""
    files = [
        path for name in ("idna", "six", "toml") for path in corpus_directory.glob(f"{name}-*")
    ]
    with Artifactory(files, *LOGIN) as server:
        yield server


@pytest.mark.thorough
def test_a_server_like_artifactory_is_mirrored_completely_and_then_left_alone(
    artifactory: Artifactory, corpus_directory: Path, pip_wheels: dict[str, Path], tmp_path: Path
) -> None:
    mirror = Mirror(tmp_path / "home", artifactory.url)
    counts = mirror.sync()["counts"]
    files = {path.name: path for path in corpus_directory.iterdir() if path.name[0] != "."}
    assert counts["files_downloaded"] == trees.check(mirror.root) == len(files)
    held = {path.name: path for path in mirror.root.glob("packages/*/*")}
    for name, path in files.items():
        assert held[name].read_bytes() == path.read_bytes()
    # Names as its links write them lead to one project each, by its normalized name.
    assert not {".", "_"} & set("".join(path.parent.name for path in held.values()))
    for secret in (LOGIN[1], artifactory.userinfo):
        assert secret not in (mirror.root / "simple/six/index.html").read_text()

    before = trees.touches(mirror.root)
    artifactory.requests.clear()
    counts = mirror.sync()["counts"]
    assert counts["bytes_downloaded"] == counts["pages_written"] == 0
    assert {path.split("/")[len(BASE.split("/"))] for path, _ in artifactory.requests} == {"simple"}
    assert trees.touches(mirror.root) == before
    assert install(mirror, pip_wheels, tmp_path / "environment")["six"] == "1.17.0"


@pytest.mark.thorough
def test_what_the_login_may_not_see_is_no_deletion_and_what_is_not_found_is_one(
    small: Artifactory, tmp_path: Path
) -> None:
    mirror = Mirror(
        tmp_path / "home", small.url, {"download": {"tries": 1}, "delete": {"grace": "0s"}}
    )
    mirror.sync()
    small.forbidden.add("six")
    del small.projects["toml"]
    summary = mirror.sync(code=1)
    assert [(f["project"], f["reason"]) for f in summary["failures"]] == [("six", "http-status")]
    assert "login" in summary["failures"][0]["message"]
    assert LOGIN[1] not in str(summary)
    assert len(simple_page(mirror, "six")["files"]) == 5
    assert not (mirror.root / "simple/toml").exists()
    assert not (mirror.root / "packages/toml").exists()
    small.forbidden.clear()
    assert mirror.sync()["counts"]["files_downloaded"] == 0


def test_a_wrong_login_changes_nothing_and_says_so(small: Artifactory, tmp_path: Path) -> None:
    mirror = Mirror(tmp_path / "home", small.url, {"download": {"tries": 1}})
    mirror.configure(select={"projects": ["six"]})
    mirror.sync()
    before = trees.touches(mirror.root)
    small.login = "Basic another"
    summary = mirror.sync(code=3)
    assert summary["state"] == "failed"
    assert "login" in summary["failures"][0]["message"]
    assert trees.touches(mirror.root) == before


def test_a_name_that_the_server_forbids_to_ask_for_is_told_of(
    small: Artifactory, tmp_path: Path
) -> None:
    small.forbidden.add("nobody-has-this")
    mirror = Mirror(tmp_path / "home", small.url, {"download": {"tries": 1}})
    mirror.configure(select={"projects": ["six", "nobody-has-this", "nor-that"]})
    summary = mirror.sync(code=1)
    told = {failure["project"]: failure["reason"] for failure in summary["failures"]}
    assert told == {"nobody-has-this": "http-status", "nor-that": "missing"}
    assert len(simple_page(mirror, "six")["files"]) == 5
