"""Charts draw the figures that their tables have."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from pypimirror.serve.pages import charts

DAYS = ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"]
parts = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 10**9))


def show(value: float) -> str:
    return f"{value:g}"


def test_columns_are_as_high_as_their_values_and_a_gap_is_left_out() -> None:
    chart = charts.columns("n", "T", dict(zip(DAYS, [0, 5, None, 10], strict=True)), show, "Unit")
    assert chart is not None
    assert [(mark.x, mark.y, mark.height, mark.tip) for mark in chart.marks] == [
        ("11", "50", "50", "2026-01-02: 5"),
        ("31", "0", "100", "2026-01-04: 10"),
    ]
    assert chart.rows == [(DAYS[0], "0"), (DAYS[1], "5"), (DAYS[3], "10")]
    assert (chart.top, chart.bottom, chart.ends) == ("10", "0", (DAYS[0], DAYS[3]))
    assert chart.summary == "10 on 2026-01-04, the most of these days."
    chart = charts.columns("n", "T", {DAYS[0]: 7, DAYS[1]: 5}, show, "Unit")
    assert chart is not None
    assert chart.summary == "5 on 2026-01-02; the most was 7 on 2026-01-01."


def test_a_small_value_beside_a_large_one_is_seen() -> None:
    chart = charts.columns("n", "T", {DAYS[0]: 1, DAYS[1]: 10**12}, show, "Unit")
    assert chart is not None
    assert [float(mark.height) for mark in chart.marks] == [1.5, 100]


def test_a_level_is_drawn_in_pieces_between_gaps() -> None:
    chart = charts.area("n", "T", dict(zip(DAYS, [7, None, 9, 8], strict=True)), show, "Unit")
    assert chart is not None
    assert chart.path.count("M") == chart.path.count("Z") == 2
    assert ("5", "98") in re.findall(r"L(\d+) ([\d.]+)", chart.path)  # the lowest value
    assert ("25", "2") in re.findall(r"L(\d+) ([\d.]+)", chart.path)  # the highest
    assert (chart.top, chart.bottom) == ("9", "7")
    assert chart.summary == "8 on 2026-01-04; 7 on 2026-01-01."


def test_a_level_of_a_single_day_is_a_column() -> None:
    chart = charts.area("n", "T", {DAYS[0]: None, DAYS[1]: 3, DAYS[2]: None}, show, "Unit")
    assert chart is not None
    assert chart.path == "M11 100L11 50L15 50L19 50L19 100Z"
    assert chart.summary == "3 on 2026-01-02."


def test_a_level_that_never_changes_is_drawn_half_way() -> None:
    chart = charts.area("n", "T", {DAYS[0]: 3, DAYS[1]: 3}, show, "Unit")
    assert chart is not None
    assert "L5 50L15 50" in chart.path


@given(st.lists(st.none() | parts, min_size=1, max_size=4))
def test_a_stack_has_all_parts_and_few_colours(found: list[dict[str, int] | None]) -> None:
    values = dict(zip(DAYS, found, strict=False))
    chart = charts.stack("n", "T", values, show, "Unit")
    if all(each is None for each in found):
        assert chart is None
        return
    assert chart is not None
    assert {mark.colour for mark in chart.marks} <= {0, 1, 2, 3, 4}
    assert len(chart.marks) <= 5 * len(found)
    top = max((sum(each.values()) for each in found if each), default=0)
    for day, each in values.items():
        tall = sum(float(mark.height) for mark in chart.marks if mark.tip.startswith(day))
        assert abs(tall - (sum(each.values()) if each else 0) / (top or 1) * 100) < 0.3
        told = dict(chart.rows).get(day, "")
        assert (day in dict(chart.rows)) == (each is not None)
        assert all(f"{show(number)} {part}" in told for part, number in (each or {}).items())


def test_nothing_is_drawn_of_nothing() -> None:
    assert charts.columns("n", "T", {DAYS[0]: None}, show, "Unit") is None
    assert charts.area("n", "T", {}, show, "Unit") is None
    assert charts.stack("n", "T", {}, show, "Unit") is None
