"""Plots in SVG, written by hand: bars for the comparison, lines for cost against size."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from html import escape

from benchmarks.goals import OURS, PEER
from benchmarks.rounds import Row, Table

_STYLE = "font-family='sans-serif' font-size='12'"
_COLOURS = ("#1b6ca8", "#c8553d", "#588157", "#8e6c8a", "#b08900", "#4a4e69", "#2a9d8f", "#999")
_BAR, _LEFT, _WIDTH = 16, 230, 900
_SIZE = re.compile(r"width='([0-9.]+)' height='([0-9.]+)'")


def bars(table: Table) -> str:
    """Return one group of bars for each corpus and scenario; lengths are seconds."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in table.rows:
        if row.seconds is not None and row.scenario != "start-up":
            groups.setdefault((row.corpus, row.scenario), []).append(row)
    parts, y = [], 30
    for (corpus, scenario), rows in groups.items():
        parts.append(_label(10, y, f"{corpus}: {scenario}", "bold"))
        longest = max(row.seconds or 0 for row in rows) or 1
        for row in sorted(rows, key=lambda row: row.seconds or 0):
            y += _BAR + 4
            seconds = row.seconds or 0
            width = max(1.0, (_WIDTH - _LEFT - 90) * seconds / longest)
            colour = {OURS: _COLOURS[0], PEER: _COLOURS[1]}.get(row.contestant, _COLOURS[7])
            parts.append(_label(20, y, row.contestant))
            parts.append(
                f"<rect x='{_LEFT}' y='{y - 12}' width='{width:.1f}' height='{_BAR}' "
                f"fill='{colour}'/>"
            )
            parts.append(_label(_LEFT + width + 6, y, f"{seconds:.2f} s"))
        y += 34
    return _svg(_WIDTH, y, parts)


def lines(
    title: str, sizes: Sequence[float], series: Mapping[str, Sequence[float | None]], unit: str
) -> str:
    """Return lines over logarithmic axes; a grey line shows linear growth."""
    found = [value for values in series.values() for value in values if value]
    if not found:
        return _svg(_WIDTH, 60, [_label(10, 30, f"{title}: nothing was measured")])
    low = 10 ** math.floor(math.log10(min(found)))
    high = 10 ** math.ceil(math.log10(max(found)) + 1e-9)
    height, top, left, right = 420, 40, 80, 640

    def x_of(size: float) -> float:
        span = math.log10(sizes[-1] / sizes[0]) or 1
        return left + (right - left) * math.log10(size / sizes[0]) / span

    def y_of(value: float) -> float:
        span = math.log10(high / low) or 1
        return top + (height - top) * (1 - math.log10(value / low) / span)

    parts = [_label(10, 22, title, "bold")]
    value = low
    while value <= high * 1.01:
        y = y_of(value)
        parts.append(f"<path d='M{left} {y:.1f}H{right}' stroke='#ddd'/>")
        parts.append(_label(10, y + 4, f"{value:g} {unit}"))
        value *= 10
    parts += [_label(x_of(size) - 20, height + 20, f"{size:,.0f}") for size in sizes]
    ends = [(size, low * size / sizes[0]) for size in (sizes[0], min(sizes[-1], sizes[0] * 100))]
    guide = "L".join(f"{x_of(size):.1f} {y_of(min(value, high)):.1f}" for size, value in ends)
    parts.append(f"<path d='M{guide}' stroke='#bbb' stroke-dasharray='4' fill='none'/>")
    for number, (name, values) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = [(x_of(s), y_of(v)) for s, v in zip(sizes, values, strict=True) if v]
        if not points:
            continue
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        parts.append(f"<path d='M{path}' stroke='{colour}' stroke-width='2' fill='none'/>")
        parts += [f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' fill='{colour}'/>" for x, y in points]
        y = top + 20 * number
        parts.append(f"<path d='M{right + 15} {y}h16' stroke='{colour}' stroke-width='3'/>")
        parts.append(_label(right + 36, y + 4, name))
    return _svg(_WIDTH + 60, height + 40, parts)


def stacked(plots: Sequence[str]) -> str:
    """Return plots one below the other."""
    parts, y, widest = [], 0.0, 0.0
    for each in plots:
        width, height = (float(value) for value in _SIZE.findall(each)[0])
        parts.append(each.replace("<svg ", f"<svg y='{y:.0f}' ", 1))
        y, widest = y + height, max(widest, width)
    return _svg(widest, y, parts)


def _label(x: float, y: float, text: str, weight: str = "normal") -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' font-weight='{weight}'>{escape(text)}</text>"


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    head = f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' {_STYLE}>"
    background = "<rect width='100%' height='100%' fill='white'/>"
    return "\n".join([head, background, *parts, "</svg>\n"])
