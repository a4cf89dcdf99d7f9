"""Every command at a terminal: it works there, it fits, and what it says can be copied."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs.generate.commands import walk
from tests.cli.terminal import AtTerminal, screen
from tests.cli.terminal import terminal as terminal
from tests.environment import isolated
from tests.mirror import Mirror, offer
from tests.sampling import sample
from tests.simulator import Simulator, Status

#: What is run below at a terminal of 80 columns, in this order, with how it ends.
COMMANDS = {
    "init": (("six",), 2),  # is there already
    "deploy": ((), 2),
    "sync": (("--inline",), 1),
    "status": (("six",), 0),
    "runs": ((), 0),
    "runs show": (("last",), 0),
    "explain": (("six",), 0),
    "check": (("six",), 0),
    "relock": (("nothing.lock",), 2),
    "verify": ((), 0),
    "retry": (("--inline",), 1),
    "adopt": ((), 0),
    "metrics": ((), 0),
    "doctor": ((), 0),
    "quarantine": ((), 0),
    "quarantine explain": (("nothing",), 2),
    "quarantine release": (("nothing",), 2),
    "quarantine clear": ((), 0),
    "serve": (("--port", "0"), 0),
    "up": (("--no-server", "--no-web"), 2),
}
PROGRAM = Path(sys.executable).parent / "pypimirror"


@pytest.fixture
def some(mirror: Mirror, simulator: Simulator) -> Mirror:
    """A mirror of projects of which one has a file that is not there."""
    offer(simulator, "six", "1.0", "1.1")
    offer(simulator, "idna", "3.0")
    simulator.fault(offer(simulator, "gone", "1.0")[0], Status(404))
    return mirror


def test_no_command_lacks_a_test_at_a_terminal() -> None:
    named = {" ".join(path.split()[1:]) for path, *_ in walk()}
    assert set(COMMANDS) == named - {""}


@pytest.mark.slow
def test_every_command_works_at_a_terminal(some: Mirror, terminal: AtTerminal) -> None:
    for command, (arguments, code) in COMMANDS.items():
        seen = terminal(
            *command.split(), *arguments, interrupt_at="Serving" if command == "serve" else ""
        )
        assert seen.code == code, (command, seen.text)
        assert "Traceback" not in seen.text
        assert "fault of pypimirror" not in seen.text
    plan = terminal("sync", "--dry-run")
    assert (plan.code, "Would fail: 1" in plan) == (1, True), plan.text


def test_what_fails_is_told_once(some: Mirror, terminal: AtTerminal) -> None:
    seen = terminal("sync", "--inline")
    assert seen.code == 1, seen.text
    assert sum("is not there (status 404)" in line for line in seen.text.split("\n")) == 1


def test_bars_say_how_much_is_done_and_go_when_it_is(some: Mirror, terminal: AtTerminal) -> None:
    seen = terminal("sync", "--inline")
    for stage in ("discover", "download", "verify", "publish"):
        assert re.search(rf"\b{stage} +━", seen.text), seen.text
    assert re.search(r"━ 4/4  .*1 failed", seen.text), seen.text
    assert not any("━" in line for line in seen.lines)


@pytest.mark.thorough
@pytest.mark.parametrize("width", sample([80, 40], 80))
def test_a_run_is_named_whole_however_narrow_it_is(
    some: Mirror, terminal: AtTerminal, width: int
) -> None:
    names = [terminal("sync", "--inline", width=width).lines[0].split()[1] for _ in range(2)]
    seen = terminal("runs", width=width)
    assert [line.split()[0] for line in seen.lines[1:3]] == names[::-1]
    assert all(len(line) <= width for line in seen.lines)
    shown = terminal("runs", "show", names[0], width=width)
    assert (shown.code, names[0] in shown) == (0, True)
    status = terminal("status", "six", width=width)
    (sha256,) = some.query("SELECT hex(sha256) AS h FROM files WHERE filename LIKE 'six-1.1%'")
    assert sha256["h"].lower() in status


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("term", "no_color"), sample([("xterm-256color", "1"), ("dumb", "")], ("dumb", ""))
)
def test_nothing_hangs_on_colours(
    some: Mirror, terminal: AtTerminal, term: str, no_color: str
) -> None:
    environment = {"NO_COLOR": no_color} if no_color else {}
    for command in (["sync", "--inline"], ["runs"], ["doctor"], ["nonsense"]):
        seen = terminal(*command, term=term, environment=environment)
        assert not seen.has_colours, seen.raw
        assert "Traceback" not in seen.text
    seen = terminal("sync", "--inline", "-v", term=term, environment=environment)
    assert "incomplete" in seen
    assert terminal("sync", "--inline").has_colours


@pytest.mark.thorough
@pytest.mark.skipif(
    shutil.which("bash") is None or not PROGRAM.exists(), reason="bash asks what is installed"
)
def test_bash_completes_commands_runs_and_projects(some: Mirror) -> None:
    some.sync()
    (name,) = (row["name"] for row in some.query("SELECT name FROM runs"))

    def complete(*words: str) -> list[str]:
        """Do what bash does when somebody presses TAB behind `words`."""
        script = (
            "source <(pypimirror --show-completion bash)\n"
            f"COMP_WORDS=(pypimirror {' '.join(words)}) COMP_CWORD={len(words)}\n"
            "_pypimirror_completion pypimirror\n"
            'printf "%s\\n" "${COMPREPLY[@]}"\n'
        )
        done = subprocess.run(
            [shutil.which("bash") or "bash", "--norc", "-c", script],
            cwd=some.base,
            env=isolated(PATH=f"{PROGRAM.parent}:{os.environ['PATH']}", SHELL="/bin/bash"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == ""
        return done.stdout.split()

    assert complete("st") == ["status"]
    assert complete("runs", "sh") == ["show"]
    assert complete("runs", "show", "2") == [name]
    assert sorted(complete("status", "i")) == ["idna"]
    some.file.unlink()
    assert complete("status", "i") == []


def test_the_screen_is_what_is_left_when_cursors_have_moved() -> None:
    raw = "one\r\n\x1b[?25la bar\r\x1b[2K\x1b[1A\x1b[2Kdone\r\nnext\x1b[?25h\r\n"
    assert screen(raw) == ["done", "next", ""]
