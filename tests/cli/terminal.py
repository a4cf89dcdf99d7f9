"""A terminal for tests: a command runs in it as it does for a person who sits there.

Standard input, output and error are one pseudo-terminal. What the person sees is what comes out,
on a screen on which carriage returns and movements of the cursor have done their work.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import sys
import termios
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.environment import isolated

#: Colours and movements of the cursor, as terminals know them.
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
#: A colour among the escapes: everything but bold, dim and the like.
_COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|4[0-7]|9[0-7]|10[0-7]|[34]8;[0-9;]+)m")


_INTERRUPT = b"\x03"  #: what ^C sends


@dataclass(frozen=True)
class Seen:
    """How a command ended and what came out at the terminal."""

    code: int
    raw: str

    @property
    def text(self) -> str:
        """All that was written, also what was written over later."""
        return _ESCAPES.sub("", self.raw).replace("\r\n", "\n").replace("\r", "\n")

    @property
    def lines(self) -> list[str]:
        """What stands there at the end: bars that came and went are none of it."""
        return screen(self.raw)

    @property
    def has_colours(self) -> bool:
        """Whether anything was coloured."""
        return bool(_COLOUR.search(self.raw))

    def __contains__(self, text: str) -> bool:
        return text in "\n".join(self.lines)


AtTerminal = Callable[..., Seen]


def at_terminal(
    *arguments: str,
    cwd: Path,
    width: int = 80,
    term: str = "xterm-256color",
    environment: dict[str, str] | None = None,
    program: tuple[str, ...] = (sys.executable, "-m", "pypimirror"),
    interrupt_at: str = "",
    interrupt_after: Callable[[], object] | None = None,
) -> Seen:
    """Run a command at a terminal of so many columns.

    ^C is pressed once `interrupt_at` is seen, or `interrupt_after` has returned.
    """
    variables = isolated(TERM=term, PYTHONPATH=str(Path(__file__).parents[2]))
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "COLORTERM", "CI"):
        variables.pop(name, None)
    variables |= environment or {}
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover - this is the command's process
        try:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
            os.chdir(cwd)
            os.execve(program[0], [*program, *arguments], variables)
        finally:
            os._exit(127)

    def press() -> None:
        assert interrupt_after is not None
        interrupt_after()
        os.write(terminal, _INTERRUPT)

    if interrupt_after is not None:
        threading.Thread(target=press, daemon=True).start()
    try:
        raw = _read(terminal, interrupt_at)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
    return Seen(os.waitstatus_to_exitcode(status), raw.decode("utf-8", "backslashreplace"))


def _read(terminal: int, interrupt_at: str) -> bytes:
    seen = bytearray()
    while True:
        try:
            data = os.read(terminal, 1 << 16)
        except OSError:  # EIO: nobody has it open any more
            return bytes(seen)
        if not data:
            return bytes(seen)
        seen += data
        if interrupt_at and interrupt_at.encode() in seen:
            os.write(terminal, _INTERRUPT)
            interrupt_at = ""


def screen(raw: str) -> list[str]:
    """Return the lines that stand there when all escapes have done what they do."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\n|\r|[^\x1b\r\n]+", raw):
        if part == "\n":
            row += 1
            if row == len(lines):
                lines.append("")
        elif part == "\r":
            column = 0
        elif part.startswith("\x1b["):
            number = int(part[2:-1]) if part[2:-1].isdigit() else 1
            if part.endswith("A"):
                row = max(0, row - number)
            elif part == "\x1b[2K":
                lines[row] = ""
        else:
            line = lines[row].ljust(column)
            lines[row] = line[:column] + part + line[column + len(part) :]
            column += len(part)
    return [line.rstrip() for line in lines]


@pytest.fixture
def terminal(tmp_path: Path) -> AtTerminal:
    """Runs commands at a terminal, in the directory of the configuration."""

    def run(*arguments: str, **settings: object) -> Seen:
        return at_terminal(*arguments, cwd=tmp_path, **settings)  # type: ignore[arg-type]

    return run
