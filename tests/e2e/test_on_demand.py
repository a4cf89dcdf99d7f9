"""Clients install an application of real projects from an empty mirror on demand, and again later.

The first time, everything comes from the upstream. Then the upstream is away, and the server starts
anew: the mirror has all that was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import buckets
from tests.corpus import application, fetch
from tests.corpus.build import make_wheel
from tests.databases import Databases
from tests.e2e import locking
from tests.e2e.clients import call, installed, make_environment, pip, uv_pip
from tests.mirror import Mirror, offer
from tests.on_demand.site import check_whole, on_demand, serving, until
from tests.sampling import sample
from tests.simulator import IndexFile, Simulator
from tests.storage.s3.mirrors import InBucket

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DOWNLOAD = {"connections": 16, "tries": 2}


@pytest.fixture
def upstream(application_directory: Path) -> Iterator[Simulator]:
    """The application's projects, each also with a release that nobody chooses."""
    with Simulator() as simulator:
        simulator.add_directory(application_directory)
        for name in application.own():
            simulator.add_file(name, *make_wheel(name, "0.0.1"), core_metadata=True)
        yield simulator


Install = Callable[[str, Path], Path]


def with_uv(index: str, at: Path) -> Path:
    """Install with uv; return the environment's Python."""
    python = make_environment(at)
    call(*uv_pip("install", index, python), *application.own())
    return python


def with_pip(index: str, at: Path) -> Path:
    """Install with the newest pip."""
    python = make_environment(at)
    wheel = fetch.PIPS / f"pip-{fetch.PIP_VERSIONS[-1]}-py3-none-any.whl"
    call(*pip(wheel, "install", index, python), "--quiet", *application.own())
    return python


def with_poetry(index: str, at: Path) -> Path:
    """Lock with poetry, and install what it locks."""
    at.mkdir()
    locking.lock("poetry", at, index)
    return locking.install("poetry", at / "poetry", at / "home")


def install(by: Install, index: str, at: Path) -> None:
    """Install the application into a new environment, and look at what is there."""
    found = installed(by(index, at))
    found.pop("pip", None)
    assert len(found) > 40
    assert found.items() <= application.pins().items()
    assert found.keys() >= set(application.own())


def fetched_once(upstream: Simulator) -> list[IndexFile]:
    """The files that were fetched from the upstream, each no more than once."""
    found = []
    for project in upstream.index.projects.values():
        for file in project.files:
            if count := upstream.downloads(file.filename):
                assert count == 1, file.filename
                found.append(file)
    assert len(found) > 40
    return found


def install_three_times(mirror: Mirror, upstream: Simulator, by: Install, at: Path) -> None:
    """Install from an empty mirror, then without the upstream, then also from a new server."""
    with serving(mirror) as served:
        install(by, f"{served.url}simple/", at / "first")
        held = fetched_once(upstream)
        wait_recorded(mirror, held)
        upstream.refuse()
        install(by, f"{served.url}simple/", at / "second")
    with serving(mirror) as served:
        install(by, f"{served.url}simple/", at / "third")
    upstream.accept()


def wait_recorded(mirror: Mirror, files: list[IndexFile]) -> None:
    """Wait until files are files of the mirror, wherever it is."""
    until(lambda: all(mirror.state(file.filename) == "published" for file in files))


@pytest.mark.parametrize("by", sample([with_uv, with_pip, with_poetry], with_uv))
@pytest.mark.usefixtures("pip_wheels")
def test_an_application_is_installed_from_an_empty_mirror_and_again_without_the_upstream(
    upstream: Simulator, tmp_path: Path, by: Install
) -> None:
    mirror = on_demand(tmp_path / "mirror", upstream, download=DOWNLOAD)
    install_three_times(mirror, upstream, by, tmp_path)
    check_whole(mirror, fetched_once(upstream))


@pytest.mark.parametrize("by", ["pip", "uv"])
def test_a_client_waits_for_an_upstream_that_takes_longer_than_the_server_waits(
    simulator: Simulator, tmp_path: Path, pip_wheels: dict[str, Path], by: str
) -> None:
    """After 504, pip would say that the project does not exist."""
    offer(simulator, "six", "1.0")
    mirror = on_demand(tmp_path / "mirror", simulator)
    python = make_environment(tmp_path / "environment")
    wheel = pip_wheels[fetch.PIP_VERSIONS[-1]]
    hold = simulator.hold("/simple/six/")
    with serving(mirror) as served, ThreadPoolExecutor() as pool:
        index = f"{served.url}simple/"
        of_pip = pip(wheel, "install", index, python)
        command = of_pip if by == "pip" else uv_pip("install", index, python)
        done = pool.submit(call, *command, "six")
        until(lambda: served.metric("pypimirror_on_demand_failed_total") >= 1)
        hold.release()
        done.result()
    assert installed(python)["six"] == "1.0"


@pytest.mark.thorough
def test_the_same_with_a_catalog_on_postgresql(
    upstream: Simulator, tmp_path: Path, postgresql: Databases
) -> None:
    catalog = {"catalog": postgresql.migrated()}
    mirror = on_demand(tmp_path / "mirror", upstream, download=DOWNLOAD, mirror=catalog)
    install_three_times(mirror, upstream, with_uv, tmp_path)
    check_whole(mirror, fetched_once(upstream))


@pytest.mark.thorough
@pytest.mark.usefixtures("keys_of_the_bucket")
def test_the_same_with_a_mirror_in_a_bucket(
    upstream: Simulator, tmp_path: Path, seaweed: buckets.Server
) -> None:
    sections = {"on_demand": {"projects": ["*"]}, "download": DOWNLOAD}
    stored = InBucket(tmp_path / "mirror", upstream, seaweed.bucket(), **sections)
    install_three_times(stored.mirror, upstream, with_uv, tmp_path)
    held = fetched_once(upstream)
    content = stored.content()
    for file in held:
        path = f"packages/{file.project.normalized}/{file.filename}"
        assert content[path] == bytes(file.content)
    assert stored.faults(agree=False) == []
    assert stored.mirror.sync(sound=False).counts["files_downloaded"] == 0
