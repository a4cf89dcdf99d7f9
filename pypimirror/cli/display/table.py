"""Tables for people, which never cut a cell.

People copy cells, such as the name of a run, so a cell is whole or not there. A table that is too
wide first loses its optional columns. If it is still too wide, each row becomes a few lines: its
first cell, and the others indented below it. Without a terminal the width is unbounded, and a row
is one line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from pypimirror.cli.display.output import out, visible

if TYPE_CHECKING:
    from rich.text import Text

_GAP = "  "


class Column(Struct, frozen=True):
    """A column: its title, and how it behaves in a narrow terminal."""

    title: str
    leave: int = 0  #: the column with the largest number is left out first; 0: never left out
    right: bool = False  #: whether cells are aligned to the right, as numbers are
    plain: bool = False  #: whether cells need no title beside them


class Cell(Struct, frozen=True):
    """Text that is shown literally: markup means nothing, control characters are escaped."""

    text: str
    style: str = ""

    def __post_init__(self) -> None:
        if not self.text.isprintable():
            shown = visible(self.text).replace("\n", "\\n").replace("\t", "\\t")
            msgspec.structs.force_setattr(self, "text", shown)


def show(columns: Sequence[Column], rows: Iterable[Sequence[str | Cell]]) -> None:
    """Print a table with the titles of its columns."""
    for line in lines(columns, rows, out.width):
        out.print(line)


def lines(
    columns: Sequence[Column], rows: Iterable[Sequence[str | Cell]], width: int
) -> list[Text]:
    """Return a table as lines for a terminal that is `width` columns wide."""
    cells = [[c if isinstance(c, Cell) else Cell(c) for c in row] for row in rows]
    shown = _shown(columns, cells, width)
    if shown is None:
        return [line for row in cells for line in _record(columns, row, width)]
    return _table([columns[n] for n in shown], [[row[n] for n in shown] for row in cells])


def _shown(
    columns: Sequence[Column], cells: Sequence[Sequence[Cell]], width: int
) -> list[int] | None:
    """Return the positions of the columns that fit; None if the required ones do not fit."""
    widths = _widths(columns, cells)
    shown = list(range(len(columns)))
    # An optional column that is empty in every row is left out.
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
    """Yield a row as lines: the first cell, then the others, wrapped only between cells."""
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
