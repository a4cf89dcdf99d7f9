"""Real tools lock an application of real projects; from a mirror by lock, they install it again.

The mirror answers at the address of the upstream, which is gone: so every lock works unchanged.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uv

from tests import tools
from tests.corpus import application
from tests.corpus.build import make_wheel
from tests.e2e import locking
from tests.e2e.clients import call, installed, make_environment, pip, uv_pip
from tests.e2e.mirror import Mirror
from tests.e2e.serving import serve
from tests.simulator import Simulator

pytestmark = [pytest.mark.thorough, pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Locked:
    """Projects with a lock each, and the index that their mirror is."""

    base: Path
    index: str

    def home(self, tool: str) -> Path:
        return self.base / "homes" / tool


@pytest.fixture(scope="module")
def locked(
    tmp_path_factory: pytest.TempPathFactory, application_directory: Path
) -> Iterator[Locked]:
    """Lock with every tool, mirror what the locks name, and let the upstream go."""
    base = tmp_path_factory.mktemp("locked")
    with Simulator(formats=("html", "json")) as simulator:
        simulator.add_directory(application_directory)
        for name in application.own():  # that nobody chooses
            simulator.add_file(name, *make_wheel(name, "0.0.1"))
        for tool in ("uv", *tools.PACKAGES):
            locking.lock(tool, base, simulator.url)
        names = ("uv.lock", "pylock.toml", "poetry.lock", "pdm.lock", "Pipfile.lock", "*.txt")
        locks = [f"../*/{name}" for name in names]
        mirror = Mirror(base / "mirror", simulator.url, {"select": {"locks": locks}})
        mirror.sync()
        resolved = {"projects": application.own(), "dependencies": "resolved"}
        Mirror(base / "resolved", simulator.url, {"select": resolved}).sync()
        port = simulator.url.rsplit(":")[-1].partition("/")[0]
    with serve(mirror, port) as index:
        yield Locked(base, index)


def held(home: Path) -> set[str]:
    packages = home / "mirror" / "packages"
    return {path.name for path in packages.glob("*/*") if path.suffix != ".metadata"}


def test_the_mirror_has_every_file_that_is_locked_and_none_else(
    locked: Locked, application_directory: Path
) -> None:
    offered = {path.name for path in application_directory.iterdir() if path.name != ".stamp"}
    assert held(locked.base / "mirror") == offered
    assert len(offered) > 50


def test_a_mirror_by_resolution_has_each_wheel_of_the_solution_and_installs_it(
    locked: Locked, application_directory: Path, tmp_path: Path
) -> None:
    wheels = {path.name for path in application_directory.glob("*.whl")}
    assert held(locked.base / "resolved") == wheels
    python = make_environment(tmp_path / "environment")
    index = f"{(locked.base / 'resolved' / 'mirror').as_uri()}/simple/"
    call(*uv_pip("install", index, python), *application.own())
    assert installed(python).items() <= application.pins().items()


@pytest.mark.parametrize(
    "platform", ["aarch64-unknown-linux-gnu", "aarch64-apple-darwin", "x86_64-pc-windows-msvc"]
)
def test_uv_resolves_the_application_for_other_platforms_from_the_mirror(
    locked: Locked, platform: str
) -> None:
    lines = "\n".join(application.own())
    command = [*uv_pip("compile", locked.index), "--python-platform", platform, "--no-header", "-"]
    said = call(*command, given=lines)
    found = dict(line.split("==") for line in said.splitlines() if "==" in line)
    assert len(found) > 40
    assert found.items() <= application.pins().items()
    assert ("colorama" in found) == ("windows" in platform)


@pytest.mark.parametrize("tool", ["uv", "poetry", "pdm", "pip-tools"])
def test_each_tool_installs_its_lock_from_the_mirror(
    locked: Locked, tool: str, pip_wheels: dict[str, Path], tmp_path: Path
) -> None:
    at, home = locked.base / tool, locked.home(tool)
    python = at / ".venv" / "bin" / "python"
    if tool == "uv":
        options = ("--frozen", "--python", sys.executable)
        tools.run(Path(uv.find_uv_bin()), "sync", *options, at=at, home=home)
    elif tool in ("poetry", "pdm"):
        locking.install(tool, at, home)
    else:
        python = make_environment(tmp_path / "environment")
        command = pip(list(pip_wheels.values())[-1], "install", locked.index, python)
        options = ("--quiet", "--require-hashes", "--requirement", str(at / "requirements.txt"))
        tools.run(Path(command[0]), *command[1:], *options, at=at, home=home)
    found = {name: each for name, each in installed(python).items() if name != "pip"}
    assert len(found) > 40
    assert found.items() <= application.pins().items()
    assert found.keys() >= set(application.own())
