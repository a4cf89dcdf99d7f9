"""The generated tables that stand in pages which are otherwise written by hand."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from pathlib import Path

from pypimirror.bandersnatch.filters import PATHS
from pypimirror.bandersnatch.translate import OPTIONS
from pypimirror.catalog.states import MOVES, State
from pypimirror.cli.errors import Exit
from pypimirror.status.reasons import REASONS

#: What stands at the top of a page that is generated as a whole.
NOTICE = "<!-- Written by docs/generate from the code; change it there, then `make docs`. -->"

_BLOCK = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_COMMENT = re.compile(r"^ +(\w+) = .*?#: (.+)$", re.MULTILINE)


def exit_codes() -> str:
    """Return the table of exit codes."""
    said = comments(Exit)
    rows = [[f"{code.value}", said.get(code.name, code.name.lower())] for code in Exit]
    return table(["code", "meaning"], rows)


def moves() -> str:
    """Return the table of a file's states and the moves between them."""
    said = comments(State)
    rows = [
        [
            f"`{state.label}`",
            said[state.name],
            ", ".join(f"`{target.label}`" for target in sorted(MOVES[state])),
        ]
        for state in State
    ]
    return table(["state", "meaning", "may become"], rows)


def reasons() -> str:
    """Return the table of reasons."""
    rows = [[f"`{reason.value}`", *told] for reason, told in REASONS.items()]
    return table(["reason", "meaning", "what to do"], rows)


def bandersnatch() -> str:
    """Return the table of bandersnatch's options."""
    rows = [
        [f"`[{o.section}] {o.name}`", f"{'' if o.take else f'{o.outcome}: '}{o.meaning}"]
        for o in OPTIONS
    ]
    paths = [[f"`[{section}]` paths", meaning] for section, (_, meaning) in PATHS.items()]
    return table(["option of bandersnatch", "becomes"], [*rows, *paths])


def decisions() -> str:
    """Return the list of the records of decisions, by their first lines."""
    folder = Path(__file__).resolve().parents[1] / "decisions"
    heads = [(file.name, file.read_text("utf-8").partition("\n")[0]) for file in folder.glob("0*")]
    found = [(name, *head.removeprefix("# ").split(". ", 1)) for name, head in sorted(heads)]
    return table(["number", "decision"], [[f"[{n}]({name})", title] for name, n, title in found])


def comments(enum: type[Enum]) -> dict[str, str]:
    """Return what stands behind `#:` beside each member of an enum, by name."""
    return dict(_COMMENT.findall(inspect.getsource(enum)))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n"
                   for line in lines)  # fmt: skip


BLOCKS: dict[str, Callable[[], str]] = {
    "moves": moves,
    "reasons": reasons,
    "exit-codes": exit_codes,
    "bandersnatch": bandersnatch,
    "decisions": decisions,
}


def fill(text: str) -> str:
    """Return `text` with its generated tables as they should be."""
    return _BLOCK.sub(lambda match: f"{match[1]}\n{BLOCKS[match[2]]()}\n{match[3]}", text)
