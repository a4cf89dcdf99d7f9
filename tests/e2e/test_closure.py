"""Clients install applications of real projects from a mirror by closure; the upstream is gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.corpus import application
from tests.corpus.build import make_wheel
from tests.e2e import locking
from tests.e2e.clients import call, installed, make_environment, pip, said_on_error, uv_pip
from tests.e2e.mirror import Mirror
from tests.e2e.serving import serve
from tests.simulator import Simulator

pytestmark = [pytest.mark.thorough, pytest.mark.slow, pytest.mark.timeout(900)]

#: Environments that this machine is not, and the tags that their mirror declares.
ELSEWHERE = {
    "aarch64-manylinux_2_28": "manylinux_2_28_aarch64",
    "aarch64-apple-darwin": "macosx_14_0_arm64",
    "x86_64-pc-windows-msvc": "win_amd64",
}
#: What needs no wheel of one platform: the corpus has those of this one alone.
ANYWHERE = ("hatchling", "httpx", "pytest", "flask")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, application_directory: Path) -> Iterator[str]:
    """A mirror of what the application names, and of all that this needs."""
    select = {
        "projects": application.own(),
        "dependencies": "all",
        "python": ["3.11", "3.12", "3.13", "3.14"],
        "platforms": ["any", "manylinux_2_28_x86_64", *ELSEWHERE.values()],
    }
    with Simulator() as simulator:
        simulator.add_directory(application_directory)
        simulator.add_file("unrelated", *make_wheel("unrelated", "1.0"))
        mirror = Mirror(tmp_path_factory.mktemp("closure"), simulator.url, {"select": select})
        mirror.sync()
    assert {path.name for path in mirror.root.glob("packages/*")} == set(application.pins())
    with serve(mirror) as address:
        yield address


@pytest.mark.parametrize("client", ["pip", "uv"])
def test_clients_install_the_whole_application(
    index: str, client: str, pip_wheels: dict[str, Path], tmp_path: Path
) -> None:
    python = make_environment(tmp_path / "environment")
    if client == "uv":
        call(*uv_pip("install", index, python), *application.own())
    else:
        call(*pip(list(pip_wheels.values())[-1], "install", index, python), *application.own())
    assert installed(python).items() <= application.pins().items()
    assert installed(python).keys() >= set(application.own())


@pytest.mark.parametrize("tool", ["poetry", "pdm"])
def test_tools_lock_and_install_the_whole_application(
    index: str, tool: str, tmp_path: Path
) -> None:
    """Each resolves by itself, from what the closure has brought."""
    locking.lock(tool, tmp_path, index)
    python = locking.install(tool, tmp_path / tool, tmp_path / "homes" / tool)
    found = {name: each for name, each in installed(python).items() if name != "pip"}
    assert found.items() <= application.pins().items()
    assert found.keys() >= set(application.own())


@pytest.mark.parametrize("platform", ELSEWHERE)
def test_uv_resolves_it_for_environments_elsewhere(
    index: str, platform: str, tmp_path: Path
) -> None:
    wanted = tmp_path / "requirements.in"
    wanted.write_text("\n".join(ANYWHERE))
    options = ("--python-platform", platform, "--python-version", "3.13")
    said = call(*uv_pip("compile", index), *options, "--no-annotate", "--no-header", str(wanted))
    assert dict(line.split("==") for line in said.split()).items() <= application.pins().items()


def test_what_failed_without_dependencies_installs_with_them(
    application_directory: Path, tmp_path: Path
) -> None:
    """As a new user found: hatchling alone was mirrored, and could not be installed."""
    python = make_environment(tmp_path / "environment")
    with Simulator() as simulator:
        simulator.add_directory(application_directory)
        mirror = Mirror(tmp_path / "home", simulator.url, {"select": {"projects": ["hatchling"]}})
        mirror.sync()
        with serve(mirror) as address:
            said = said_on_error(*uv_pip("install", address, python), "hatchling")
            assert "was not found in the package registry" in said
        mirror.configure(select={"dependencies": "all"})
        mirror.sync()
        told = mirror.run("explain", "pathspec").stdout
        assert "needed by hatchling 1.33.0 (selected)" in " ".join(told.split())
    with serve(mirror) as address:
        call(*uv_pip("install", address, python), "hatchling")
    assert installed(python)["hatchling"] == application.pins()["hatchling"]
