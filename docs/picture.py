"""Draws `docs/first-run.svg`, which README shows: `python -m docs.picture`.

What stands in it is what a person sees at a terminal of 80 columns: the commands are run, with an
upstream on loopback in PyPI's place, and what they print is drawn as it is.
"""

from __future__ import annotations

import io
import re
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from pypimirror.config.sections import upstream_name
from tests.cli.terminal import at_terminal, screen
from tests.mirror import offer
from tests.simulator import Simulator

PICTURE = Path(__file__).with_name("first-run.svg")
WIDTH = 80

#: What is offered, in the place of what `make mirror` mirrors.
OFFERED = {"six": ("1.16.0", "1.17.0"), "idna": ("3.10",), "iniconfig": ("2.0.0", "2.1.0")}
COMMANDS = ("sync", "status six", "runs", "explain idna", "verify")


def main() -> None:
    """Run the commands and draw what they print."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    with Simulator() as upstream, tempfile.TemporaryDirectory() as base:
        for project, versions in OFFERED.items():
            offer(upstream, project, *versions)
        where = Path(base) / "mirrors"
        where.mkdir()
        program = shutil.which("pypimirror") or str(Path(sys.executable).with_name("pypimirror"))
        at = {"cwd": where, "program": (program,), "width": WIDTH}
        at_terminal("init", *OFFERED, "--upstream", upstream.url, **at)  # type: ignore[arg-type]
        for command in COMMANDS:
            seen = at_terminal(*command.split(), **at)  # type: ignore[arg-type]
            text = "\n".join(_shown(seen.raw)).replace(str(where), "/srv/mirrors")
            text = text.replace(program, "pypimirror").replace(upstream_name(upstream.url), "pypi")
            console.print(Text(f"$ pypimirror {command}", "bold"))
            console.print(Text.from_ansi(text + "\n"))
    drawn = console.export_svg(title="pypimirror", theme=MONOKAI)
    # No font from elsewhere: who looks at a page tells nobody.
    PICTURE.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL), "utf-8")


def _shown(raw: str) -> list[str]:
    """Return the lines that stand there at the end, in their colours: bars came and went."""
    left = [line.rpartition("\x1b[2K")[2] for line in raw.replace("\r", "").split("\n")]
    plain = {line.strip() for line in screen(raw)}
    lines = [line for line in left if re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).strip() in plain]
    return lines[: len(lines) - 1] if lines and not lines[-1].strip() else lines


if __name__ == "__main__":
    main()
