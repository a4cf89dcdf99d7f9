"""The commands of the front page, pasted into a shell: real tools install from a mirror by them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypimirror.serve.install import install_commands
from tests import tools
from tests.e2e.clients import installed
from tests.e2e.mirror import Mirror
from tests.e2e.serving import serve
from tests.e2e.test_recipes import project_at, shell
from tests.environment import NOWHERE
from tests.simulator import Simulator

pytestmark = [pytest.mark.thorough, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def url(application_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A mirror's address, which ends in /simple/; its upstream is off."""
    with Simulator() as simulator:
        simulator.add_directory(application_directory)
        mirror = Mirror(tmp_path_factory.mktemp("commands") / "mirror", simulator.url)
        mirror.sync()
    with serve(mirror) as url:
        yield url


@pytest.mark.parametrize("tool", sorted(install_commands("http://h/simple/")))
def test_a_command_works_when_it_is_pasted(tool: str, url: str, tmp_path: Path) -> None:
    if tool in tools.PACKAGES:
        tools.program(tool)  # or no test
    more = {
        "poetry": "[tool.poetry]\npackage-mode = false",
        "pdm": "[tool.pdm]\ndistribution = false",
    }
    project = project_at(tmp_path / "project", [], more.get(tool, ""))
    python = project / ".venv/bin/python"
    if tool in ("pip", "uv"):  # they install into an environment that is there
        shell(f"{sys.executable} -m venv .venv", project, tmp_path)
    if tool == "pipenv":
        (project / "pyproject.toml").unlink()
    # It replaces only the index that nobody has chosen, as the environment of the tests has.
    first = "unset PIP_INDEX_URL\n" if tool == "pipenv" else ""
    text = first + install_commands(url, "click")[tool]
    nowhere = {"HTTPS_PROXY": NOWHERE, "https_proxy": NOWHERE}
    shell(text, project, tmp_path, python if tool == "pip" else None, **nowhere)
    assert "click" in installed(python)
