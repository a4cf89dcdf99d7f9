"""What is read without typer means the same as with it, and all else is typer's to read."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from pypimirror.cli import commands, main, plain
from pypimirror.cli.actions import syncing, verifying
from pypimirror.cli.errors import Exit

MODULES = {"sync": syncing, "verify": verifying}


@pytest.mark.parametrize(
    "arguments",
    [
        ["sync"],
        ["sync", "--json", "--quiet", "--inline"],
        ["sync", "-q", "-q", "--config", "a.toml"],
        ["sync", "--config=a.toml", "--config=b=c.toml"],
        ["verify"],
        ["verify", "--quick", "--json", "-q", "--config", "a b.toml"],
    ],
)
def test_both_readings_agree(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # without a configuration, which would begin a sync early
    module = MODULES[arguments[0]]
    defaults = {n: p.default for n, p in inspect.signature(module.perform).parameters.items()}
    heard: list[dict[str, Any]] = []

    def perform(projects: object = (), **options: Any) -> Exit:
        heard.append(defaults | options)
        return Exit.INCOMPLETE

    monkeypatch.setattr(module, "perform", perform)
    monkeypatch.setattr("sys.argv", ["pypimirror", *arguments])
    work = plain.command(arguments)
    assert work is not None
    assert (work(), commands.run()) == (1, 1)
    assert heard[0] == heard[1]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--version"],
        ["status"],
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
