"""The charts of `status --plot` and `runs show --plot`. It gets documents, and reads no catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from pypimirror.cli.display import plots
from pypimirror.cli.display.amounts import amount
from pypimirror.cli.display.output import UNBOUNDED, out
from pypimirror.domain.durations import took
from pypimirror.domain.sizes import percent
from pypimirror.status.trends import each_day

if TYPE_CHECKING:
    from pypimirror.domain.documents import StageBatch
    from pypimirror.status.documents import DayFigures, Failing, MirrorStatus, WorkerLine

Read = Callable[["DayFigures"], float | None]

#: Columns of the chart of a stage.
_SLICES = 60


def of_mirror(status: MirrorStatus) -> None:
    """Print the last days as charts."""
    found = list(each_day(status["days"], status["at"]))
    if not found:
        out.print("  No run has ended yet, so there is nothing to draw.")
        return
    charts: list[tuple[str, Read, Callable[[float], str], bool]] = [
        ("Longest sync", lambda day: day["seconds"], took, False),
        ("Downloaded", lambda day: day["downloaded"], amount, False),
        ("Failures", lambda day: sum(day["failures"].values()), _number, False),
        ("Highest age of the last complete sync", lambda day: day["oldest_age"], took, False),
        ("Files", lambda day: day["files"], _number, True),
        ("Bytes", lambda day: day["bytes"], amount, True),
        ("Files with work left", lambda day: day["backlog"], _number, False),
        ("Free space", lambda day: day["free"], amount, True),
    ]
    for title, read, show, level in charts:
        values = [None if day is None else read(day) for _, day in found]
        lines = plots.columns(values, show, plain=_is_plain(), width=_width(), level=level)
        if lines:
            last = next(value for value in reversed(values) if value is not None)
            out.print(f"\n{title}: {show(last)}", markup=False)
            _print(lines)
    _print([plots.ends(found[0][0], found[-1][0], len(found), width=_width())])
    for line in _in_words(status):
        out.print(line, markup=False)


def _in_words(status: MirrorStatus) -> Iterator[str]:
    yield ""
    fresh = status["freshness"]
    age = "" if fresh["age"] is None else f": as the upstream was {took(fresh['age'])} ago"
    yield (f"The mirror is {fresh['word']}{age}." if age else "No full sync is complete yet.")
    if (proofs := status["proofs"]) is not None and proofs["files"]:
        within = [f"{percent(each['share'])} in {each['days']}" for each in proofs["within"]]
        yield f"Files found right again: {', '.join(within)} days."
    if (space := status["space"]) is not None and space["full_at_iso"] is not None:
        yield f"At this pace, the free space runs out on {space['full_at_iso'][:10]}."
    for each in status["failures"]:
        yield f"{each['number']} {each['reason']}: {each['meaning']} What to do: {each['remedy']}"


def of_run(
    batches: Sequence[StageBatch], workers: Sequence[WorkerLine], failing: Sequence[Failing]
) -> None:
    """Print how many batches were in each stage over time, and what the workers did."""
    ended = [each["ended_at"] for each in batches if each["ended_at"] is not None]
    if not ended:
        out.print("  No batch has ended yet, so there is nothing to draw.")
        return
    start, end = min(each["started_at"] for each in batches), max(ended)
    for stage in dict.fromkeys(each["stage"] for each in batches):
        own = [each for each in batches if each["stage"] == stage]
        values = busy(own, start, end)
        out.print(f"\n{stage}: batches at work at the same time, of {len(own)}", markup=False)
        _print(plots.columns(values, _number, plain=_is_plain(), width=_width()))
    _print([plots.ends("0 s", took(end - start), _SLICES, width=_width())])
    if len(workers) > 1:
        out.print("\nFiles by worker")
        rows = [(each["name"], each["files"], f"{each['files']}") for each in workers]
        _print(plots.bars(rows, plain=_is_plain(), width=_width()))
    if failing:
        out.print("\nFailures by reason")
        found = [(each["reason"], each["number"], f"{each['number']}") for each in failing]
        _print(plots.bars(found, plain=_is_plain(), width=_width()))


def busy(batches: Sequence[StageBatch], start: float, end: float) -> list[float]:
    """Return how many batches were at work in each slice of the time from `start` to `end`.

    A batch counts for the share of the slice that it was at work.
    """
    length = max(end - start, 1e-3) / _SLICES
    found = [0.0] * _SLICES
    for each in batches:
        until = end if each["ended_at"] is None else each["ended_at"]
        first = min(_SLICES - 1, int((each["started_at"] - start) / length))
        last = min(_SLICES - 1, int((until - start) / length))
        for number in range(first, last + 1):
            begins = start + number * length
            covered = min(until, begins + length) - max(each["started_at"], begins)
            found[number] += max(0.0, covered) / length
    return found


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _is_plain() -> bool:
    return not out.console.encoding.lower().startswith("utf")


def _width() -> int:
    return 80 if out.width == UNBOUNDED else out.width


def _print(lines: Sequence[str]) -> None:
    for line in lines:
        out.print(line, markup=False)
