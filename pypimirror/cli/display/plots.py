"""Small charts in lines of text: columns over time, and bars side by side. No I/O.

Blocks of eight heights draw them. A terminal that is not UTF-8 gets plain characters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

_BLOCKS = " ▁▂▃▄▅▆▇█"
_PLAIN = " ..::||##"
#: Lines of a chart of columns.
_HEIGHT = 3
#: Columns of the labels beside a chart, and of a chart.
_LABEL, _WIDEST = 13, 62

Value = float | None


def columns(
    values: Sequence[Value],
    show: Callable[[float], str],
    *,
    plain: bool,
    width: int = 80,
    level: bool = False,
) -> list[str]:
    """Draw values as columns with the highest and the lowest value beside them.

    None leaves a gap. A `level`, such as free space, is drawn between its lowest and its highest
    value; all others from 0. If there is no room for all values, the first are left out.
    """
    room = max(1, min(width, _LABEL + _WIDEST) - _LABEL)
    values = values[-room:]
    gap = " " if 2 * len(values) <= room else ""
    known = [value for value in values if value is not None]
    if not known:
        return []
    top, bottom = max(known), min(known) if level else 0.0
    heights = [_height(value, bottom, top) for value in values]
    labels = [show(top), *[""] * (_HEIGHT - 2), show(bottom)]
    blocks, axis = (_PLAIN, "|") if plain else (_BLOCKS, "┤")
    lines = []
    for row, label in enumerate(labels):
        below = (_HEIGHT - 1 - row) * 8
        cells = (blocks[min(8, max(0, height - below))] for height in heights)
        lines.append(f"{label:>{_LABEL - 2}} {axis}{gap.join(cells)}".rstrip())
    return lines


def _height(value: Value, bottom: float, top: float) -> int:
    """Return the height of a column in eighths of a line. A value is at least one eighth high."""
    if value is None or (value == bottom == 0):
        return 0
    share = 1.0 if top == bottom else (value - bottom) / (top - bottom)
    return max(1, round(share * _HEIGHT * 8))


def ends(first: str, last: str, number: int, *, width: int = 80) -> str:
    """Return the line below a chart of `number` columns: its first and last column in words."""
    room = max(1, min(width, _LABEL + _WIDEST) - _LABEL)
    across = min(room, 2 * number - 1 if 2 * number <= room else number)
    if across < len(first) + len(last) + 2:
        return " " * _LABEL + last
    return " " * _LABEL + first + last.rjust(across - len(first))


def bars(rows: Sequence[tuple[str, float, str]], *, plain: bool, width: int = 80) -> list[str]:
    """Draw rows of a label, a number and its text as bars from the left."""
    if not rows:
        return []
    labels = max(len(label) for label, _, _ in rows)
    texts = max(len(text) for _, _, text in rows)
    room = max(4, min(width, _LABEL + _WIDEST) - labels - texts - 6)
    most = max(number for _, number, _ in rows) or 1
    mark = "#" if plain else "█"
    return [
        f"  {label:<{labels}}  {text:>{texts}}  "
        f"{mark * (max(1, round(number / most * room)) if number else 0)}".rstrip()
        for label, number, text in rows
    ]
