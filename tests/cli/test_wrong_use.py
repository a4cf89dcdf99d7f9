"""Wrong use ends with what was meant: what the command takes, and a right command."""

from __future__ import annotations

import re
import shlex

import pytest

from pypimirror.cli.errors import Exit
from tests.cli.conftest import Command
from tests.mirror import Mirror, offer
from tests.simulator import Simulator


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("verify six", "status six"),
        ("runs last", "runs show last"),
        ("quarantine list", "quarantine"),
        ("doctor six 1.0", "explain six"),
    ],
)
def test_the_command_that_was_meant_is_told_and_works(
    run: Command, mirror: Mirror, simulator: Simulator, wrong: str, right: str
) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    said = run(*wrong.split())
    assert said.code == Exit.USAGE
    told = re.search(r"'pypimirror ([^']+)'\.", said.err.partition("Error:")[2])
    assert told is not None and told[1] == right
    assert run(*shlex.split(right)).code == Exit.DONE
    document = run(*wrong.split(), "--json").json
    assert f"'pypimirror {right}'" in document["error"]["message"]


@pytest.mark.parametrize("command", ["serve", "up"])
def test_a_port_without_its_option_is_explained(run: Command, command: str) -> None:
    said = run(command, "8080")
    assert said.code == Exit.USAGE
    assert f"'pypimirror {command} --host 0.0.0.0 --port 8080'" in said.err


def test_a_strange_word_never_stands_in_a_command(run: Command) -> None:
    said = run("verify", "$(reboot)")
    assert said.code == Exit.USAGE
    assert "'pypimirror status NAME'" in said.err


def test_of_a_wrong_option_only_its_name_is_said(run: Command) -> None:
    assert run("verify", "--six").err.rstrip().endswith("No such option: --six")


@pytest.mark.parametrize("option", ["--config nope.toml", "--json", "-v", "-qq", "--verbose"])
def test_an_option_before_the_command_is_told_where_to_stand(run: Command, option: str) -> None:
    said = run(*option.split(), "status")
    assert said.code == Exit.USAGE
    assert "Options come after the command: 'pypimirror status --json" in said.err
    assert "Options come after" not in run("--jason", "status").err
