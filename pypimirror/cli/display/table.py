"""Rows for people, in as many columns as there are: nothing is ever cut.

What a person copies from here, such as the name of a run, is whole or not there. A table that is
too wide leaves out what may be left out; where the rest is too wide still, each row becomes a few
lines: its first cell, and the others indented below it. Without a terminal there is no bound, and
a row is a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pypimirror.cli.display.output import out, visible

if TYPE_CHECKING:
    from rich.text import Text

_GAP = "  "


@dataclass(frozen=True)
class Column:
    """A column: its title, and what becomes of it where there is little room."""

    title: str
    leave: int = 0  #: left out before those with a smaller number; 0: never
    right: bool = False  #: whether it is a number
    plain: bool = False  #: whether its cells say by themselves what they are


@dataclass(frozen=True)
class Cell:
    """Text that is shown as it is, whatever is in it; what a terminal obeys, as escapes."""

    text: str
    style: str = ""

    def __post_init__(self) -> None:
        if not self.text.isprintable():
            shown = visible(self.text).replace("\n", "\\n").replace("\t", "\\t")
            object.__setattr__(self, "text", shown)


def show(columns: Sequence[Column], rows: Iterable[Sequence[str | Cell]]) -> None:
    """Print rows under the titles of their columns."""
    for line in lines(columns, rows, out.width):
        out.print(line)


def lines(
    columns: Sequence[Column], rows: Iterable[Sequence[str | Cell]], width: int
) -> list[Text]:
    """Return rows as lines for so many columns of a terminal."""
    cells = [[c if isinstance(c, Cell) else Cell(c) for c in row] for row in rows]
    shown = _shown(columns, cells, width)
    if shown is None:
        return [line for row in cells for line in _record(columns, row, width)]
    return _table([columns[n] for n in shown], [[row[n] for n in shown] for row in cells])


def _shown(
    columns: Sequence[Column], cells: Sequence[Sequence[Cell]], width: int
) -> list[int] | None:
    """Return the numbers of the columns that there is room for; None where there is not enough."""
    widths = _widths(columns, cells)
    shown = list(range(len(columns)))
    # What is empty in every row is no column.
    shown = [n for n in shown if columns[n].leave == 0 or any(row[n].text for row in cells)]
    while sum(widths[n] for n in shown) + len(_GAP) * (len(shown) - 1) > width:
        least = max(shown, key=lambda n: columns[n].leave)
        if columns[least].leave == 0:
            return None
        shown.remove(least)
    return shown


def _widths(columns: Sequence[Column], cells: Sequence[Sequence[Cell]]) -> list[int]:
    from rich.cells import cell_len

    return [
        max([cell_len(column.title), *(cell_len(row[n].text) for row in cells)])
        for n, column in enumerate(columns)
    ]


def _table(columns: Sequence[Column], cells: Sequence[Sequence[Cell]]) -> list[Text]:
    widths = _widths(columns, cells)
    titles = [Cell(column.title, "bold") for column in columns]
    return [_row(columns, row, widths) for row in [titles, *cells]]


def _row(columns: Sequence[Column], row: Sequence[Cell], widths: Sequence[int]) -> Text:
    from rich.cells import cell_len
    from rich.text import Text

    line = Text()
    for column, cell, width in zip(columns, row, widths, strict=True):
        padding = " " * (width - cell_len(cell.text))
        line.append(padding if column.right else "")
        line.append(cell.text, cell.style or None)
        line.append(("" if column.right else padding) + _GAP)
    line.rstrip()
    return line


def _record(columns: Sequence[Column], row: Sequence[Cell], width: int) -> Iterable[Text]:
    """Yield the first cell, and what belongs to it in lines below, broken between cells."""
    from rich.text import Text

    yield Text(row[0].text, row[0].style or "bold")
    line = Text(_GAP)
    for column, cell in zip(columns[1:], row[1:], strict=True):
        if not cell.text:
            continue
        piece = Text("" if column.plain else f"{column.title} ")
        piece.append(cell.text, cell.style or None)
        gap = _GAP if line.cell_len > len(_GAP) else ""
        if gap and line.cell_len + len(gap) + piece.cell_len > width:
            yield line
            line, gap = Text(_GAP), ""
        line.append(gap)
        line.append_text(piece)
    if line.cell_len > len(_GAP):
        yield line
