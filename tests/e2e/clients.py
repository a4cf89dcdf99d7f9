"""pip and uv as their users run them: in processes, with a clean environment, on one index."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import uv

from tests.environment import isolated

PATIENCE = 110.0  #: seconds until a client has to be done

#: What is installed in an environment, by name: asked of the environment itself.
_LIST = """\
import json
from importlib.metadata import distributions
print(json.dumps({d.name.lower().replace("_", "-").replace(".", "-"): d.version
                  for d in distributions()}))
"""


def call(*command: str | Path, code: int = 0, given: str = "") -> str:
    """Run a program to its end; what it wrote. The exit code has to be this one."""
    done = subprocess.run(
        command,
        env=isolated(),
        input=given,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    said = done.stdout + done.stderr
    assert done.returncode == code, f"{command} ended with {done.returncode}\n{said}"
    return done.stdout


def said_on_error(*command: str | Path) -> str:
    """Run a program that has to fail; what it wrote to standard error."""
    done = subprocess.run(
        command,
        env=isolated(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode != 0, done.stdout
    return done.stderr


def pip(wheel: Path, command: str, index: str, python: Path | None = None) -> list[str]:
    """The beginning of a call of pip, straight from its wheel."""
    interpreter = python or Path(sys.executable)
    return [str(interpreter), f"{wheel}/pip", command, "--index-url", index]


def uv_pip(command: str, index: str, python: Path | None = None) -> list[str]:
    """The beginning of a call of uv."""
    interpreter = python or Path(sys.executable)
    options = ["--default-index", index, "--python", str(interpreter)]
    return [uv.find_uv_bin(), "pip", command, "--quiet", *options]


def make_environment(directory: Path) -> Path:
    """A virtual environment with nothing in it; its interpreter."""
    call(sys.executable, "-m", "venv", "--without-pip", directory)
    return directory / "bin/python"


def installed(python: Path) -> dict[str, str]:
    """What an environment has, as normalised name and version."""
    found: dict[str, str] = json.loads(call(python, "-I", "-c", _LIST))
    return found


def write_lines(file: Path, lines: Iterable[str]) -> Path:
    """A file of requirements."""
    file.write_text("".join(f"{line}\n" for line in lines))
    return file
