"""Charts of pages, as values for the template `charts.html`, which draws them as SVG. No I/O.

A picture is stretched to the width of the page, so all of its text is HTML beside it. Each chart
has a table with the same figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

#: Size of a picture, in its own units: width of a column, and height.
_STEP, _HEIGHT = 10, 100
#: Parts of a stack that get a colour of their own; all others share one.
_COLOURS, _OTHERS = 4, "others"

Show = Callable[[float], str]


@dataclass(frozen=True)
class Shape:
    """A rectangle, with a text that explains it."""

    x: str
    y: str
    width: str
    height: str
    tip: str
    colour: int = 0  #: number of its colour


@dataclass(frozen=True)
class Chart:
    """A chart with its table."""

    name: str  #: unique on the page
    title: str
    summary: str
    width: int
    marks: Sequence[Shape]
    top: str  #: labels of the vertical axis
    bottom: str
    ends: tuple[str, str]  #: labels of the horizontal axis
    head: Sequence[str]  #: of the table
    rows: Sequence[Sequence[str]]
    legend: Sequence[tuple[int, str]] = ()  #: numbers of colours, each with its meaning
    path: str = ""  #: of an area, instead of rectangles


def columns(
    name: str, title: str, values: Mapping[str, float | None], show: Show, unit: str
) -> Chart | None:
    """Return a chart of columns from 0, one for each day; None without a value."""
    known = {day: value for day, value in values.items() if value is not None}
    if not known:
        return None
    top = max(known.values()) or 1
    marks = [
        _mark(n, _HEIGHT, _tall(value, top), f"{day}: {show(value)}")
        for n, (day, value) in enumerate(values.items())
        if value
    ]
    highest = max(known, key=lambda day: known[day])
    summary = f"{_last(known, show)}, the most of these days."
    if show(known[highest]) != show(known[max(known)]):
        summary = f"{_last(known, show)}; the most was {show(known[highest])} on {highest}."
    return _chart(name, title, summary, values, show, unit, show(known[highest]), show(0), marks)


def area(
    name: str, title: str, values: Mapping[str, float | None], show: Show, unit: str
) -> Chart | None:
    """Return a chart of a level, drawn from its lowest to its highest value."""
    known = {day: value for day, value in values.items() if value is not None}
    if not known:
        return None
    low, high = min(known.values()), max(known.values())
    points = [
        None if value is None else (n * _STEP + _STEP / 2, _depth(value, low, high))
        for n, value in enumerate(values.values())
    ]
    first = next(iter(known))
    summary = f"{_last(known, show)}; {show(known[first])} on {first}."
    if len(known) == 1:
        summary = f"{_last(known, show)}."
    chart = _chart(name, title, summary, values, show, unit, show(high), show(low))
    return replace(chart, path=_path(points))


def stack(
    name: str, title: str, values: Mapping[str, Mapping[str, int] | None], show: Show, unit: str
) -> Chart | None:
    """Return columns that are made of parts, such as failures by reason."""
    totals = {day: None if parts is None else sum(parts.values()) for day, parts in values.items()}
    chart = columns(name, title, totals, show, unit)
    if chart is None:
        return None
    top = max(total or 0 for total in totals.values()) or 1
    own = _most_frequent(values)[:_COLOURS]
    marks, has_others = [], False
    for n, (day, parts) in enumerate(values.items()):
        below = float(_HEIGHT)
        others = sum(number for part, number in (parts or {}).items() if part not in own)
        has_others |= others > 0
        shown = [*((part, (parts or {}).get(part, 0)) for part in own), (_OTHERS, others)]
        for colour, (part, number) in enumerate(shown):
            tall = number / top * _HEIGHT
            if number:
                marks.append(_mark(n, below, tall, f"{day}: {show(number)} {part}", colour))
            below -= tall
    legend = list(enumerate([*own, *([_OTHERS] if has_others else [])]))
    rows = [
        (day, ", ".join(f"{show(n)} {part}" for part, n in parts.items()) or "0")
        for day, parts in values.items()
        if parts is not None
    ]
    return replace(chart, marks=marks, legend=legend, rows=rows)


def _chart(
    name: str,
    title: str,
    summary: str,
    values: Mapping[str, float | None],
    show: Show,
    unit: str,
    top: str,
    bottom: str,
    marks: Sequence[Shape] = (),
) -> Chart:
    days = list(values)
    return Chart(
        name=name,
        title=title,
        summary=summary,
        width=len(days) * _STEP,
        marks=marks,
        top=top,
        bottom=bottom,
        ends=(days[0], days[-1]),
        head=("Day", unit),
        rows=[(day, show(value)) for day, value in values.items() if value is not None],
    )


def _mark(number: int, below: float, tall: float, tip: str, colour: int = 0) -> Shape:
    """Return a part of the column with this number; `below` is the distance of its foot."""
    sizes = (number * _STEP + 1, below - tall, _STEP - 2, tall)
    x, y, width, height = (f"{round(size, 1):g}" for size in sizes)
    return Shape(x, y, width, height, tip, colour)


def _last(known: Mapping[str, float], show: Show) -> str:
    day = next(reversed(list(known)))
    return f"{show(known[day])} on {day}"


def _tall(value: float, top: float) -> float:
    """Return the height of a column; even a small value can be seen."""
    return max(1.5, value / top * _HEIGHT)


def _depth(value: float, low: float, high: float) -> float:
    """Return the distance of a level from the top. A level that never changes is half-way."""
    share = 0.5 if low == high else (value - low) / (high - low)
    return round((1 - share) * (_HEIGHT - 4) + 2, 2)


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    """Return the path of an area below points; None is a gap. A single point is a column."""
    parts, wide = [], _STEP / 2 - 1
    for before, point in pairwise([None, *points, None]):
        if before is None and point is not None:
            parts.append(f"M{point[0] - wide:g} {_HEIGHT}L{point[0] - wide:g} {point[1]:g}")
        if point is not None:
            parts.append(f"L{point[0]:g} {point[1]:g}")
        elif before is not None:
            parts.append(f"L{before[0] + wide:g} {before[1]:g}L{before[0] + wide:g} {_HEIGHT}Z")
    return "".join(parts)


def _most_frequent(values: Mapping[str, Mapping[str, int] | None]) -> list[str]:
    """Return all parts, the most frequent first."""
    sums: dict[str, int] = {}
    for parts in values.values():
        for part, number in (parts or {}).items():
            sums[part] = sums.get(part, 0) + number
    return sorted(sums, key=lambda part: (-sums[part], part))
