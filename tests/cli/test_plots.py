"""Small charts in a terminal say what the numbers say, in any width and encoding."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypimirror.cli.display import charts, plots
from pypimirror.system.clock import DAY
from tests.cli.conftest import Command
from tests.cli.terminal import AtTerminal
from tests.cli.terminal import terminal as terminal  # a fixture
from tests.mirror import Mirror, offer
from tests.simulator import Simulator, Status

values = st.lists(st.none() | st.floats(0, 1e15), min_size=1, max_size=200)


def digits(value: float) -> str:
    return f"{value:.0f}"


def test_a_column_is_as_high_as_its_value() -> None:
    lines = plots.columns([0, 1, 12, 24, None, 6], digits, plain=False)
    assert lines == [
        "         24 ┤      █",
        "            ┤    ▄ █",
        "          0 ┤  ▁ █ █   ▆",
    ]


def test_a_level_is_drawn_between_its_lowest_and_its_highest_value() -> None:
    lines = plots.columns([1000, 1012, 1024], digits, plain=False, level=True)
    assert lines == [
        "       1024 ┤    █",
        "            ┤  ▄ █",
        "       1000 ┤▁ █ █",
    ]


@given(values, st.integers(20, 200), st.booleans(), st.booleans())
def test_no_line_is_wider_than_the_terminal(
    found: list[float | None], width: int, plain: bool, level: bool
) -> None:
    for line in plots.columns(found, lambda v: f"{v:.0e}", plain=plain, width=width, level=level):
        assert len(line) <= min(width, 80)
        assert line.isascii() or not plain


def test_bars_share_the_width() -> None:
    assert plots.bars([("missing", 10, "10"), ("disk", 5, "5"), ("none", 0, "0")], plain=True,
                      width=30) == [
        "  missing  10  ###############",
        "  disk      5  ########",
        "  none      0",
    ]  # fmt: skip


def batch(start: float, end: float | None) -> Any:
    return {"started_at": start, "ended_at": end}


def test_the_work_of_batches_is_spread_over_the_time_that_they_took() -> None:
    found = charts.busy([batch(0, 60), batch(30, 60), batch(59.5, None)], 0, 60)
    assert found == [1.0] * 30 + [2.0] * 29 + [2.5]


@pytest.fixture
def drawn(mirror: Mirror, simulator: Simulator) -> Mirror:
    """A mirror that has runs and days behind it, some of which failed."""
    simulator.fault(offer(simulator, "six", "1.0", "2.0")[1], Status(404))
    mirror.sync()
    today = int(time.time() // DAY)
    (row,) = mirror.query("SELECT * FROM days")
    for ago in (1, 2, 5):
        past = dict(row) | {"day": today - ago, "failures": json.dumps({"timeout": 4 * ago})}
        names, places = ", ".join(past), ", ".join("?" * len(past))
        mirror.query(f"INSERT INTO days ({names}) VALUES ({places})", *past.values())
    return mirror


def test_status_draws_the_days_with_gaps_and_says_what_stands(
    drawn: Mirror, terminal: AtTerminal
) -> None:
    seen = terminal("status", "--plot")
    assert seen.code == 0
    chart = seen.lines.index("Failures: 1")
    assert seen.lines[chart + 1 : chart + 4] == [
        f"         20 ┤{24 * '  '}█",
        f"            ┤{24 * '  '}█     ▂",
        f"          0 ┤{24 * '  '}█     █ ▅ ▁",
    ]
    assert "1 missing: The upstream does not have what its page names (404 or 410)." in seen
    assert "Files found right again: 100% in 1, 100% in 7, 100% in 30, 100% in 90 days." in seen
    assert max(len(line) for line in seen.lines if "┤" in line) <= 80


def test_a_run_is_drawn_by_stage_and_reason(drawn: Mirror, run: Command) -> None:
    said = run("runs", "show", "last", "--plot").out
    assert "discover: batches at work at the same time, of 2" in said
    assert "Failures by reason\n  missing  1  █" in said


@pytest.mark.parametrize("command", [("status",), ("runs", "show", "last")])
def test_a_terminal_without_utf8_gets_plain_characters(
    drawn: Mirror, terminal: AtTerminal, command: tuple[str, ...]
) -> None:
    seen = terminal(*command, "--plot", environment={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert seen.code == 0
    assert "#" in seen
    assert seen.text.isascii()


def test_a_chart_never_gets_into_json(drawn: Mirror, run: Command) -> None:
    assert run("status", "--plot", "--json").json["projects"] == 1
    assert run("runs", "show", "last", "--plot", "--json").json["state"] == "incomplete"


def test_a_mirror_without_days_has_nothing_to_draw(drawn: Mirror, run: Command) -> None:
    drawn.query("DELETE FROM days")
    assert "No run has ended yet" in run("status", "--plot").out
