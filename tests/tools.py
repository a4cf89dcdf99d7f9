"""Real tools that make locks and install from them, each of one version in its own environment.

python -m tests.tools

That is the set-up step of `make test-thorough`: it makes `.cache/tools/<name>-<version>` with pip,
once; no test fetches anything itself. uv is not among them: it is installed beside the tests. A
server that is written for Node.js comes with npm, where that is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.corpus import fetch
from tests.environment import isolated

DIRECTORY = fetch.CACHE / "tools"
PATIENCE = 300.0  #: seconds until a tool has to be done
NPM_PATIENCE = 90.0  #: seconds for npm

#: The tool first, then what it does not pin and works with.
PACKAGES: dict[str, tuple[str, ...]] = {
    "poetry": ("poetry==2.5.1",),
    "pdm": ("pdm==2.29.4", "hishel[httpx2]<2"),  # with hishel 2.0 it does not start
    "pipenv": ("pipenv==2026.10.3",),
    "pip-tools": ("pip-tools==7.6.2",),
}
PROGRAMS = {"pip-tools": "pip-compile"}

#: Packages of npm.
NODE_PACKAGES = {"s3rver": "3.7.1"}


def environment_of(tool: str) -> Path:
    """Where a tool's environment is."""
    return DIRECTORY / f"{tool}-{PACKAGES[tool][0].rpartition('==')[2]}"


def is_made(tool: str) -> bool:
    """Whether it is there, complete, and of the versions that are asked for."""
    stamp = environment_of(tool) / ".stamp"
    return stamp.is_file() and stamp.read_text() == fetch.digest_of(*PACKAGES[tool])


def make(tool: str) -> None:
    """Make a tool's environment unless it is there."""
    if is_made(tool):
        return
    directory = environment_of(tool)
    python = fetch.make_environment(directory)
    fetch.pip("install", "--quiet", *PACKAGES[tool], python=python)
    (directory / ".stamp").write_text(fetch.digest_of(*PACKAGES[tool]))


def program(tool: str) -> Path:
    """A tool's program, or no test: a failure in CI, where the set-up step has to have run."""
    if not is_made(tool):
        message = f"{tool} is not here: run python -m tests.tools"
        if os.environ.get("CI"):
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    return environment_of(tool) / "bin" / PROGRAMS.get(tool, tool)


def make_node(tool: str) -> str:
    """Install a package of npm unless it is there; return its version, or why it is not there."""
    directory, version = node_directory(tool), NODE_PACKAGES[tool]
    if (directory / ".stamp").exists():
        return version
    if shutil.which("npm") is None:
        return "left out, as there is no npm"
    directory.mkdir(parents=True, exist_ok=True)
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--silent")
    command = ["npm", "install", *quiet, "--prefix", str(directory), f"{tool}@{version}"]
    # npm has a registry of its own, which fewer machines can reach than one for Python. Where it
    # gets no answer, it tries again for many minutes.
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, check=True, timeout=NPM_PATIENCE)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return "left out, as npm could not install it"
    (directory / ".stamp").touch()
    return version


def node_directory(tool: str) -> Path:
    """Where a package of npm is."""
    return DIRECTORY / f"{tool}-{NODE_PACKAGES[tool]}"


def node_modules(tool: str) -> Path:
    """Where node finds a package, or no test."""
    if not (node_directory(tool) / ".stamp").exists() or shutil.which("node") is None:
        pytest.skip(f"{tool} is not here: python -m tests.tools installs it, if npm can")
    return node_directory(tool) / "node_modules"


def run(tool: str | Path, *arguments: str | Path, at: Path, home: Path, **more: str) -> str:
    """Run a tool to its end in a directory, with a home of its own; return what it printed."""
    home.mkdir(parents=True, exist_ok=True)
    command = [program(tool) if isinstance(tool, str) else tool, *arguments]
    settings = {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_STATE_HOME": str(home / "state"),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        "POETRY_VIRTUALENVS_IN_PROJECT": "true",
        "PDM_CHECK_UPDATE": "0",
        "PIPENV_IGNORE_VIRTUALENVS": "1",
        "PIPENV_VENV_IN_PROJECT": "1",
        "PIPENV_NOSPIN": "1",
        "UV_CACHE_DIR": str(home / "uv"),
    }
    environment = isolated(**(settings | more))
    for name in ("UV_DEFAULT_INDEX", "UV_NO_CONFIG", "VIRTUAL_ENV"):  # a project names its index
        environment.pop(name, None)
    done = subprocess.run(
        command,
        cwd=at,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{said}"
    return done.stdout


def main() -> None:
    """Make all environments."""
    for tool in PACKAGES:
        make(tool)
        print(f"{tool}: {', '.join(PACKAGES[tool])}", flush=True)
    for tool in NODE_PACKAGES:
        print(f"{tool}: {make_node(tool)}", flush=True)


if __name__ == "__main__":
    main()
