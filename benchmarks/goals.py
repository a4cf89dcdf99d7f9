"""The goals for pypimirror, compared with a table of results. A missed goal fails nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.contestant import Scenario, cores
from benchmarks.rounds import Row, Table

OURS, PEER = "pypimirror", "bandersnatch"
ENGINE, AIOHTTP, CURL = "pypimirror's engine", "aiohttp loop", "curl"


@dataclass(frozen=True)
class Goal:
    """One line of the goals."""

    measure: str
    limit: float
    at_least: bool
    value: Callable[[Table], float | None]
    unit: str = "x"

    def line(self, table: Table) -> tuple[str, str, str, str]:
        """Return measure, goal, value and whether it is reached, as text."""
        found = self.value(table)
        sign = "≥" if self.at_least else "≤"
        goal = f"{sign} {self.limit:g} {self.unit}"
        if found is None:
            return self.measure, goal, "-", "not measured"
        reached = found >= self.limit if self.at_least else found <= self.limit
        return self.measure, goal, f"{found:.2f} {self.unit}", "yes" if reached else "NO"


def _faster(corpus: str, scenario: Scenario, ours: str = OURS) -> Callable[[Table], float | None]:
    """Return how many times faster than the peer."""

    def value(table: Table) -> float | None:
        mine = table.get(corpus, scenario, ours)
        theirs = table.get(corpus, scenario, PEER)
        return _ratio(_seconds(theirs), _seconds(mine))

    return value


def _seconds(row: Row | None) -> float | None:
    return None if row is None else row.seconds


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def _per_file(table: Table, name: str) -> float | None:
    """Return the CPU for each tiny file, without the engine's start."""
    whole = table.get("tiny", Scenario.FIRST, name)
    start = table.get("tiny", Scenario.START, name)
    if whole is None or start is None:
        return None
    assert whole.cpu is not None and start.cpu is not None
    return (whole.cpu - start.cpu) / whole.files


def _cpu(corpus: str, name: str, table: Table) -> float | None:
    row = table.get(corpus, Scenario.FIRST, name)
    return None if row is None else row.cpu


def _wall(corpus: str, name: str, table: Table) -> float | None:
    row = table.get(corpus, Scenario.FIRST, name)
    return _seconds(row)


def _through_prefect(table: Table) -> float | None:
    inline = _wall("long-tail", OURS, table)
    flow = _wall("long-tail", "pypimirror through Prefect", table)
    return flow - inline if flow is not None and inline is not None else None


def _largest_worker(table: Table) -> float | None:
    rows: list[Row] = [row for row in table.rows if row.contestant in (OURS, ENGINE)]
    sizes = [cost.worker for row in rows for cost in row.costs if cost.worker]
    return max(sizes) / 1e6 if sizes else None


GOALS = (
    Goal("first sync, long tail, in memory, against bandersnatch", 6, True,
         _faster("long-tail", Scenario.FIRST)),
    Goal("the same on disk", 3, True, _faster("disk", Scenario.FIRST)),
    Goal("the same with 50 ms latency", 10, True, _faster("latency", Scenario.FIRST)),
    Goal("... at ten connections each", 1.2, True,
         _faster("latency", Scenario.FIRST, "pypimirror, 10 connections")),
    Goal("engine CPU per tiny file against aiohttp", 0.6, False,
         lambda t: _ratio(_per_file(t, ENGINE), _per_file(t, AIOHTTP))),
    Goal("engine CPU per tiny file against curl", 1.5, False,
         lambda t: _ratio(_per_file(t, ENGINE), _per_file(t, CURL))),
    Goal("long tail wall against curl --parallel without hash", 1.4, False,
         lambda t: _ratio(_wall("long-tail", OURS, t), _wall("long-tail", CURL, t))),
    Goal(f"huge files: throughput against {cores()} openssl sha256", 0.8, True,
         lambda t: _ratio(_wall("huge", "openssl sha256", t), _wall("huge", OURS, t))),
    Goal("TLS, long tail, CPU against aiohttp", 0.65, False,
         lambda t: _ratio(_cpu("tls", OURS, t), _cpu("tls", AIOHTTP, t))),
    Goal("TLS, long tail, the engine's CPU against aiohttp", 0.65, False,
         lambda t: _ratio(_cpu("tls", ENGINE, t), _cpu("tls", AIOHTTP, t))),
    Goal("50,000 projects, two files each, against bandersnatch scaled", 25, True,
         _faster("many", Scenario.FIRST)),
    Goal("nothing changed, 1,000 projects", 3, True, _faster("long-tail", Scenario.SAME)),
    Goal("1 % changed", 2, True, _faster("long-tail", Scenario.CHANGED)),
    Goal("verify by hash", 8, True, _faster("long-tail", Scenario.HASH)),
    Goal("verify quick", 15, True, _faster("long-tail", Scenario.QUICK)),
    Goal("through a running Prefect server instead of inline", 3, False, _through_prefect, "s"),
    Goal("largest download process at 64 connections", 60, False, _largest_worker, "MB"),
)  # fmt: skip
