"""What is read without typer means the same as with it, and all else is typer's to read."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pypimirror.cli import commands, main, plain
from pypimirror.cli.actions import history, syncing, verifying
from pypimirror.cli.errors import Exit

#: Where the work of each command is, and the name of the function.
WORK: dict[str, tuple[ModuleType, str]] = {
    "sync": (syncing, "perform"),
    "verify": (verifying, "perform"),
    "status": (history, "perform_status"),
}


@pytest.mark.parametrize(
    "arguments",
    [
        ["sync"],
        ["sync", "--json", "--quiet", "--inline"],
        ["sync", "-q", "-q", "--config", "a.toml"],
        ["sync", "--config=a.toml", "--config=b=c.toml"],
        ["verify"],
        ["verify", "--quick", "--json", "-q", "--config", "a b.toml"],
        ["status"],
        ["status", "--plot", "--json", "-q", "--config", "a.toml"],
    ],
)
def test_both_readings_agree(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # without a configuration, which would begin a sync early
    module, name = WORK[arguments[0]]
    signature = inspect.signature(getattr(module, name))
    defaults = {n: p.default for n, p in signature.parameters.items()}
    heard: list[dict[str, Any]] = []

    def perform(projects: object = (), **options: Any) -> Exit:
        heard.append(defaults | options)
        return Exit.INCOMPLETE

    monkeypatch.setattr(module, name, perform)
    monkeypatch.setattr("sys.argv", ["pypimirror", *arguments])
    work = plain.command(arguments)
    assert work is not None
    code = None if arguments[0] == "status" else 1  # its code does not depend on what it shows
    assert (work(), commands.run()) == (1, code)
    assert heard[0] == heard[1]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--version"],
        ["status", "six"],
        ["runs"],
        ["sync", "six"],
        ["sync", "--help"],
        ["sync", "--quick"],
        ["sync", "--config"],
        ["sync", "--config="],
        ["sync", "--config", "--json"],
        ["sync", "--dry-run"],
        ["sync", "--json=1"],
        ["verify", "--inline"],
        ["verify", "--repair"],
    ],
)
def test_what_is_not_plain_is_left_to_typer(arguments: list[str]) -> None:
    assert plain.command(arguments) is None


def test_wrong_use_is_told_and_has_a_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["pypimirror", "sync", "--wrong"])
    assert main._run() == Exit.USAGE
    assert "No such option: --wrong" in capfd.readouterr().err
