"""The command line in this process, and as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pypimirror.cli import main
from pypimirror.system import children
from tests.mirror import Mirror
from tests.simulator import Simulator


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on standard output."""
        return json.loads(self.out)


Command = Callable[..., Outcome]


@pytest.fixture
def mirror(tmp_path: Path, simulator: Simulator) -> Mirror:
    """A mirror of everything that one upstream has."""
    return Mirror(tmp_path, simulator)


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs a command in this process, in the directory of the configuration."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["pypimirror", *arguments])
        capsys.readouterr()
        code = main._run()
        said = capsys.readouterr()
        return Outcome(int(code), said.out, said.err)

    return run


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts a command as a process."""

    def start(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "pypimirror", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture(autouse=True)
def no_early_child() -> Iterator[None]:
    """A child that begins before its command is known to need it is none of another test's."""
    _end_early_children()
    yield
    _end_early_children()


def _end_early_children() -> None:
    for module in list(children._early):
        if (child := children.take_early(module)) is not None:
            child.kill()
            child.wait()
