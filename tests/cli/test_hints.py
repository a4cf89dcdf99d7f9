"""What a person is told to type can be typed: where the program is, and for which configuration."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from pypimirror.cli.display import hints
from tests.cli.conftest import Command
from tests.corpus.build import make_wheel
from tests.mirror import Mirror, offer
from tests.simulator import Simulator


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A program that is on no PATH, as after `make`."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return Path(".venv/bin/pypimirror")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "'.venv/bin/pypimirror retry'"),
        (["--config", "a b.toml"], "'.venv/bin/pypimirror retry --config 'a b.toml''"),
        (["status", "--config=x.toml", "-q"], "'.venv/bin/pypimirror retry --config x.toml'"),
    ],
)
def test_commands_in_messages_have_program_and_configuration(
    monkeypatch: pytest.MonkeyPatch, called: Path, arguments: list[str], told: str
) -> None:
    monkeypatch.setattr(sys, "argv", [str(called), *arguments])
    assert hints.typed("later, or with 'pypimirror retry'") == f"later, or with {told}"
    assert hints.typed("'pypimirror' is a program") == "'pypimirror' is a program"


def test_a_program_on_the_path_is_told_by_its_name(
    monkeypatch: pytest.MonkeyPatch, called: Path, tmp_path: Path
) -> None:
    program = tmp_path / "pypimirror"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    assert hints.command("runs") == "pypimirror runs"
    monkeypatch.setattr(sys, "argv", ["/x/pypimirror/__main__.py"])
    assert hints.command("runs") == f"{sys.executable} -m pypimirror runs"


def test_a_program_beside_python_is_told_with_its_path(
    monkeypatch: pytest.MonkeyPatch, called: Path, tmp_path: Path
) -> None:
    own = Path(sys.executable).with_name("prefect")
    assert own.exists() and hints.beside("prefect") == str(own)
    told = hints.typed("Start one: 'prefect worker start', or use 'pypimirror up'")
    assert f"'{own} worker start'" in told and "pypimirror up" in told
    monkeypatch.setenv("PATH", str(own.parent))
    assert hints.beside("prefect") == "prefect"
    assert hints.beside("absent") == "absent"


def test_errors_and_summaries_tell_what_can_be_typed(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    outcome = run("status", "--config", "other.toml")
    assert "write one with 'pypimirror init --config other.toml'" in outcome.err
    offer(simulator, "six", "1.0")
    outcome = run("sync", "--config", "pypimirror.toml")
    assert "pypimirror serve --host 0.0.0.0 --config pypimirror.toml" in outcome.out


def add(simulator: Simulator, project: str, version: str, *needs: str, **said: Any) -> None:
    simulator.add_file(project, *make_wheel(project, version, requires=needs), **said)


@pytest.mark.parametrize("formats", [["html", "json"], ["html"]])
def test_the_project_to_install_has_files_here_and_all_that_it_needs(
    run: Command, mirror: Mirror, simulator: Simulator, formats: list[str]
) -> None:
    simulator.add_file("aaa", "aaa-1.0.tar.gz", b"no sdist")  # fails: its page has no file
    add(simulator, "bbb", "1.0", yanked="broken")
    add(simulator, "ccc", "1.0", "nowhere")
    simulator.add_file("ddd", *make_wheel("ddd", "1.0"), requires_python=">=9")
    add(simulator, "eee", "1.0", "fff>=2; python_version > '3'", "test ; extra == 'test'")
    add(simulator, "fff", "1.0")
    mirror.configure(publish={"formats": formats})
    assert installs(run("sync").out) == "fff"
    add(simulator, "fff", "2.0")
    assert installs(run("sync").out) == "eee"
    assert installs(run("sync").out) == "eee"  # nothing was to be done


def test_what_a_project_lacks_is_told_where_none_can_be_installed(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    add(simulator, "ccc", "1.0", "nowhere>=2", "elsewhere")
    told = run("sync").out
    assert installs(told) == "ccc"
    assert "once it also has what ccc needs: elsewhere, nowhere" in told


def test_a_mirror_without_files_tells_no_way_to_install(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    add(simulator, "bbb", "1.0", yanked="broken")
    assert "pip install" not in run("sync").out


def installs(told: str) -> str:
    (line,) = [line for line in told.splitlines() if "pip install" in line]
    return line.split()[-1]
