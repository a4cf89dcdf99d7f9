"""Runs contestants in turn, round after round, and collects the cost of each round."""

from __future__ import annotations

import shutil
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks import measure
from benchmarks.contestant import Contestant, Scenario, Site
from benchmarks.measure import Cost

TIMEOUT = 900.0  #: seconds for one run of one contestant

#: Scenarios that start in a directory of their own.
_FRESH = frozenset({Scenario.FIRST, Scenario.START, Scenario.RESUME})


@dataclass
class Row:
    """The cost of one contestant in one scenario on one corpus."""

    corpus: str
    scenario: str
    contestant: str
    note: str = ""
    costs: list[Cost] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    absent: str = ""  #: why it did not take part
    scale: float = 1.0
    files: int = 0

    @property
    def seconds(self) -> float | None:
        """The median in seconds, scaled to the whole work; None without a right result."""
        return self._median("seconds", self.scale)

    @property
    def cpu(self) -> float | None:
        """The median of the CPU seconds, scaled."""
        return self._median("cpu", self.scale)

    @property
    def peak(self) -> float | None:
        """The median of the peak memory in bytes."""
        return self._median("peak")

    def _median(self, name: str, factor: float = 1.0) -> float | None:
        if self.wrong or not self.costs:
            return None
        values: list[float] = [getattr(cost, name) for cost in self.costs]
        return statistics.median(values) * factor

    def as_json(self) -> dict[str, Any]:
        """Return the row for the report in JSON, without the programs' output."""
        document = asdict(self)
        for cost in document["costs"]:
            del cost["output"], cost["errors"]
        return {**document, "seconds": self.seconds, "cpu": self.cpu, "peak": self.peak}


class Table:
    """All rows."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.rows = list(rows)

    def get(self, corpus: str, scenario: Scenario, contestant: str) -> Row | None:
        """Return a row that has a result."""
        for row in self.rows:
            if (row.corpus, row.scenario, row.contestant) == (corpus, scenario, contestant):
                return row if row.seconds is not None else None
        return None


def measure_site(
    table: Table,
    site: Site,
    contestants: Sequence[Contestant],
    scenarios: Sequence[Scenario],
    rounds: int,
    tell: Callable[[str], None],
) -> None:
    """Measure all scenarios on one corpus; the first sync is always among them."""
    wanted = [Scenario.FIRST, *(s for s in scenarios if s is not Scenario.FIRST)]
    try:
        for scenario in wanted:
            _measure(table, site, contestants, scenario, rounds, tell)
    finally:
        for contestant in contestants:
            shutil.rmtree(contestant.home(site), ignore_errors=True)


def _measure(
    table: Table,
    site: Site,
    contestants: Sequence[Contestant],
    scenario: Scenario,
    rounds: int,
    tell: Callable[[str], None],
) -> None:
    taking_part: list[tuple[Contestant, Row]] = []
    for contestant in contestants:
        why = contestant.missing(scenario, site)
        if why == "":
            continue
        row = Row(site.name, scenario, contestant.name, contestant.note, absent=why or "")
        row.scale, row.files = contestant.scale(site), len(site.corpus.items)
        if why is None and not _has_mirror(table, site, scenario, contestant):
            row.absent = "its first sync went wrong"
        table.rows.append(row)
        if not row.absent:
            taking_part.append((contestant, row))
        if row.scale != 1:
            part = f"{len(site.corpus.part)} of {len(site.corpus.projects)} projects"
            row.note += f", {part}, scaled by count"
    for number in range(rounds):
        if scenario is Scenario.CHANGED and taking_part:
            site.corpus.advance()
        for contestant, row in taking_part:
            if row.wrong or (number and row.costs[0].seconds > TIMEOUT / 5):
                continue
            _one(table, site, contestant, scenario, row, tell)


def _has_mirror(table: Table, site: Site, scenario: Scenario, contestant: Contestant) -> bool:
    if scenario in (Scenario.FIRST, Scenario.START):
        return True
    return table.get(site.name, Scenario.FIRST, contestant.name) is not None


def _one(
    table: Table,
    site: Site,
    contestant: Contestant,
    scenario: Scenario,
    row: Row,
    tell: Callable[[str], None],
) -> None:
    """Do one round of one contestant."""
    if scenario in _FRESH:
        contestant.clear(site)
    try:
        contestant.prepare(scenario, site)
        if scenario is Scenario.RESUME:
            first = table.get(site.name, Scenario.FIRST, contestant.name)
            assert first is not None
            half = min(cost.seconds for cost in first.costs) / 2
            _run(contestant, scenario, site, kill_after=half)
        cost = _run(contestant, scenario, site)
        row.wrong += contestant.check(scenario, site, cost)
    except Exception as error:  # noqa: BLE001 - one contestant must not end the others' turns
        row.wrong.append(f"{type(error).__name__}: {error}")
        tell(f"{site.name}, {scenario}, {contestant.name}: {row.wrong[-1]}")
        return
    row.costs.append(cost)
    text = f"{cost.seconds:.2f} s, CPU {cost.cpu:.2f} s, {cost.peak / 1e6:.0f} MB"
    text += f", others' CPU {cost.foreign:.1f} s"
    tell(f"{site.name}, {scenario}, {contestant.name}: {'; '.join(row.wrong) or text}")


def _run(
    contestant: Contestant, scenario: Scenario, site: Site, *, kill_after: float | None = None
) -> Cost:
    environment = contestant.environment(site)
    return measure.run(
        contestant.command(scenario, site),
        env=environment,
        cwd=contestant.home(site),
        timeout=TIMEOUT,
        kill_after=kill_after,
        beside=contestant.beside,
        upstream=site.server.pids,
    )


def tell(text: str) -> None:
    """Report progress on standard error."""
    print(text, file=sys.stderr, flush=True)
