"""The report: tables as text, everything as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from benchmarks.goals import GOALS, OURS
from benchmarks.rounds import Row, Table


def columns(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Lay out a table: the first `left` columns and the last one align left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            text.ljust(width) if number < left or number == len(row) - 1 else text.rjust(width)
            for number, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def likely(values: Sequence[float]) -> tuple[float, float]:
    """Return between which values the true median is in 95 of 100 measurements."""
    ordered = sorted(values)
    away = 0.98 * math.sqrt(len(ordered))
    low = max(0, math.floor(len(ordered) / 2 - away))
    high = min(len(ordered) - 1, math.ceil(len(ordered) / 2 + away))
    return ordered[low], ordered[high]


def text(table: Table, facts: dict[str, Any]) -> str:
    """Return the whole report as text."""
    parts = [", ".join(f"{key} {value}" for key, value in facts.items())]
    keys = {row.corpus: None for row in table.rows}
    for corpus in keys:
        rows = [row for row in table.rows if row.corpus == corpus]
        for scenario, group in groupby(rows, key=lambda row: row.scenario):
            parts.append(_section(corpus, scenario, list(group)))
    lines = [("goal", "wanted", "measured", "reached"), *(goal.line(table) for goal in GOALS)]
    parts.append(columns(lines))
    return "\n\n".join(parts)


def _section(corpus: str, scenario: str, rows: list[Row]) -> str:
    ours = next((row.seconds for row in rows if row.contestant == OURS), None)
    lines = [
        ("", "median s", "from", "to", "ratio", "CPU s", "upstream", "others", "MB", ""),
        *(_line(row, ours) for row in rows),
    ]
    return f"{corpus}: {scenario}\n{columns(lines)}"


def _line(row: Row, ours: float | None) -> tuple[str, ...]:
    if row.absent or row.wrong:
        said = row.absent or f"WRONG: {'; '.join(row.wrong)}"
        return (row.contestant, *[""] * 8, said)
    seconds = [cost.seconds * row.scale for cost in row.costs]
    assert row.seconds is not None and row.cpu is not None and row.peak is not None
    return (
        row.contestant,
        f"{row.seconds:.2f}",
        f"{min(seconds):.2f}",
        f"{max(seconds):.2f}",
        f"{row.seconds / ours:.2f}" if ours else "",
        f"{row.cpu:.2f}",
        f"{max(cost.upstream for cost in row.costs):.1f}",
        f"{max(cost.foreign for cost in row.costs):.1f}",
        f"{row.peak / 1e6:.0f}",
        row.note,
    )


def document(table: Table, facts: dict[str, Any]) -> dict[str, Any]:
    """Return the whole report as a JSON document."""
    names = ("goal", "wanted", "measured", "reached")
    return {
        "machine": facts,
        "rows": [row.as_json() for row in table.rows],
        "goals": [dict(zip(names, goal.line(table), strict=True)) for goal in GOALS],
    }
