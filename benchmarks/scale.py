"""python -m benchmarks.scale: what a sync costs on catalogs of growing size.

Makes synthetic catalogs, at full size of 740,000 projects and 15 million files, and a hundredth
and a tenth of that; runs syncs that find nothing changed and 1,000 changed projects, and the
commands that only look. Text, JSON and a plot of cost against size go to `benchmarks/results/`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import catalogs, measure, plot, postgres, tools
from benchmarks.__main__ import RESULTS, working_directory
from benchmarks.catalogs import FULL, Synthetic
from benchmarks.measure import Cost
from benchmarks.report import columns
from benchmarks.rounds import tell
from benchmarks.upstream import Server
from pypimirror.catalog import projects as queries
from pypimirror.catalog.database import Catalog
from pypimirror.config import load
from tests.environment import isolated

STEPS = (0.01, 0.1, 1.0)
SMOKE = (0.0001, 0.0002)
CHANGED = 1_000  #: projects that change, where there are so many


@dataclass
class Step:
    """What one size costs. Seconds and bytes."""

    database: str
    projects: int
    files: int
    seconds: dict[str, float] = field(default_factory=dict)
    peak: dict[str, int] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    foreign: dict[str, float] = field(default_factory=dict)
    bytes_per_file: float = 0.0
    list_bytes: int = 0
    wrong: list[str] = field(default_factory=list)


class Bench:
    """One catalog of one size, and an upstream for it."""

    def __init__(self, step: Step, directory: Path, url: str, rounds: int) -> None:
        self.step = step
        self.synthetic = Synthetic(step.projects, step.files)
        self.root, self.home = directory / "upstream", directory / "home"
        self.root.mkdir(parents=True)
        self.home.mkdir()
        self.config = self.home / "pypimirror.toml"
        self._url = url
        self._rounds = rounds
        self._etag = 1_700_000_000

    def run(self) -> None:
        """Measure everything."""
        with Server(self.root, self.home / "server") as server:
            self.config.write_text(
                f'[mirror]\ncatalog = "{self._url}"\n'
                f'[[upstream]]\nname = "bench"\nurl = "{server.base}/simple/"\n'
            )
            tell(f"{self.step.database}: filling a catalog of {self.step.files:,} files")
            started = time.perf_counter()
            self.synthetic.fill(self.config, server.base)
            self.step.seconds["fill (not a goal)"] = time.perf_counter() - started
            self._measure(server)

    def _measure(self, server: Server) -> None:
        step = self.step
        settings = load(self.config)
        size = catalogs.size_of(settings.catalog_url, settings.private)
        step.bytes_per_file = size / step.files
        self.synthetic.write_list(self.root)
        step.list_bytes = (self.root / "simple.json").stat().st_size
        self._median("transfer of the list", lambda: self._transfer(server))
        self._median("sync, 0 changed", self._touch_and_sync)
        self._median("sync, list not modified", self._sync)
        self._median("status", lambda: self._command("status", "--json"))
        self._median("runs", lambda: self._command("runs", "--json"))
        self._median("sync, root index only", self._sync_root)
        self._changes(server)

    def _changes(self, server: Server) -> None:
        count = min(CHANGED, self.step.projects // 2)
        stride = self.step.projects // count
        changed = [number * stride for number in range(count)]
        rounds = iter(range(1, self._rounds + 1))

        def sync() -> Cost:
            by = next(rounds)
            self.synthetic.write_changes(self.root, server.base, changed, by)
            self.synthetic.write_list(self.root, changed, by)
            self._touch()
            cost = self._sync()
            counts = json.loads(cost.output)["counts"] if not cost.status else {}
            if counts.get("files_verified") != count:
                self.step.wrong.append(f"1,000 changed: {counts}")
            return cost

        self._median(f"sync, {count:,} changed", sync)

    def _median(self, what: str, once: Callable[[], Cost]) -> None:
        costs = [once() for _ in range(self._rounds)]
        step = self.step
        for cost in costs:
            if cost.status:
                step.wrong.append(f"{what}: exit code {cost.status}: {cost.errors[-300:]}")
        step.seconds[what] = statistics.median(cost.seconds for cost in costs)
        step.cpu[what] = statistics.median(cost.cpu for cost in costs)
        step.peak[what] = max(cost.peak for cost in costs)
        step.foreign[what] = max(cost.foreign for cost in costs)
        tell(
            f"{step.database}, {step.files:,} files, {what}: {step.seconds[what]:.2f} s, "
            f"{step.peak[what] / 1e6:.0f} MB, others' CPU {step.foreign[what]:.1f} s"
        )

    def _touch(self) -> None:
        """Give the list a new ETag."""
        self._etag += 1
        os.utime(self.root / "simple.json", (self._etag, self._etag))

    def _touch_and_sync(self) -> Cost:
        self._touch()
        cost = self._sync()
        if not cost.status and json.loads(cost.output)["counts"]["projects_changed"]:
            self.step.wrong.append("a sync on an unchanged list found changes")
        return cost

    def _sync(self) -> Cost:
        return self._command("sync", "--inline", "--json", "--quiet")

    def _sync_root(self) -> Cost:
        catalog = Catalog.open(load(self.config).catalog_url)
        try:
            with catalog.write() as connection:
                queries.set_mark(connection, "root index", "stale")
        finally:
            catalog.close()
        index = self.home / "mirror" / "simple" / "index.v1_json"
        index.unlink(missing_ok=True)
        cost = self._sync()
        if not index.is_file():
            self.step.wrong.append("the root index was not written")
        return cost

    def _command(self, *arguments: str) -> Cost:
        command = [sys.executable, "-m", "pypimirror", *arguments]
        return measure.run(command, env=isolated(), cwd=self.home, timeout=1200)

    def _transfer(self, server: Server) -> Cost:
        command = ["curl", "-q", "-s", "-f", "-o", "list", f"{server.base}/simple/"]
        return measure.run(command, env=isolated(), cwd=self.home, timeout=120)


def goals(steps: list[Step]) -> list[tuple[str, str, str]]:
    """Return goal, wanted and measured for each database."""
    lines = [("goal", "wanted", "measured")]
    for database in dict.fromkeys(step.database for step in steps):
        mine = [step for step in steps if step.database == database and not step.wrong]
        if not mine:
            lines.append((database, "", "not measured"))
            continue
        first, last = mine[0].seconds, mine[-1].seconds
        unchanged = last["sync, 0 changed"] - last["transfer of the list"]
        root = last["sync, root index only"] - last["sync, list not modified"]
        peak = mine[-1].peak["sync, 0 changed"] / 1e6
        lines += [
            (f"{database}: 0 changed, beyond the transfer", "≤ 5 s", f"{unchanged:.2f} s"),
            (f"{database}: 0 changed, peak memory", "≤ 400 MB", f"{peak:.0f} MB"),
            (f"{database}: root index", "≤ 5 s", f"{root:.2f} s"),
            (f"{database}: status", "≤ 0.5 s", f"{last['status']:.2f} s"),
            (f"{database}: runs", "≤ 0.5 s", f"{last['runs']:.2f} s"),
            (f"{database}: per file", "≤ 400 bytes", f"{mine[-1].bytes_per_file:.0f} bytes"),
        ]
        key = f"sync, {CHANGED:,} changed"
        if len(mine) > 1 and key in first and key in last:
            # What the list itself costs is in both, at its own size.
            small = first[key] - first["sync, 0 changed"]
            large = last[key] - last["sync, 0 changed"]
            ratio = f"{large / small:.2f} x"
            label = f"{database}: 1,000 changed, against {mine[0].projects:,} projects"
            lines.append((label, "≤ 1.2 x", ratio))
    return lines


def text(steps: list[Step]) -> str:
    """Return the report as text."""
    parts = []
    for step in steps:
        rows = [("", "s", "CPU s", "MB", "others' CPU s")]
        for what, seconds in step.seconds.items():
            cpu, peak = step.cpu.get(what, 0.0), step.peak.get(what, 0) / 1e6
            foreign = step.foreign.get(what, 0.0)
            rows.append((what, f"{seconds:.2f}", f"{cpu:.2f}", f"{peak:.0f}", f"{foreign:.1f}"))
        title = f"{step.database}: {step.projects:,} projects, {step.files:,} files, "
        title += f"{step.bytes_per_file:.0f} bytes of database per file, "
        title += f"list of {step.list_bytes / 1e6:.1f} MB"
        parts.append("\n".join([title, columns(rows), *(f"WRONG: {w}" for w in step.wrong)]))
    return "\n\n".join([*parts, columns(goals(steps))])


def chart(steps: list[Step]) -> str:
    """Return the plot of cost against size."""
    found_names = dict.fromkeys(name for step in steps for name in step.seconds)
    names = [name for name in found_names if not name.startswith("fill")]
    series: dict[str, list[float | None]] = {}
    sizes = sorted({step.files for step in steps})
    for database in dict.fromkeys(step.database for step in steps):
        found = {step.files: step for step in steps if step.database == database}
        for name in names:
            line = [found[size].seconds.get(name) if size in found else None for size in sizes]
            series[f"{database}: {name}"] = line
    return plot.lines("seconds against files in the catalog", sizes, series, "s")


def main(arguments: list[str] | None = None) -> int:
    """Measure and report; 1 where a result was wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    add = parser.add_argument
    add("--smoke", action="store_true", help="tiny sizes: see that it works")
    add("--steps", type=float, nargs="+", help="sizes as shares of a whole public index")
    add("--rounds", type=int, default=3)
    add("--database", action="append", choices=["sqlite", "postgresql"])
    add("--storage", type=Path, help="where everything goes (default: memory)")
    add("--output", type=Path, default=RESULTS)
    add("--install", action="store_true", help="install nginx first")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.install:
        tools.install()
    steps: list[Step] = []
    shares = options.steps or (SMOKE if options.smoke else STEPS)
    for database in options.database or ["sqlite", "postgresql"]:
        why = postgres.why_not() if database == "postgresql" else None
        if why is not None:
            tell(f"{database}: {why}")
            continue
        for share in shares:
            steps.append(measure_step(database, share, options))
    document: dict[str, Any] = {
        "machine": tools.facts(),
        "steps": [asdict(step) for step in steps],
        "goals": goals(steps),
    }
    found = text(steps)
    print(found)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "scale.json").write_text(json.dumps(document, indent=1) + "\n")
    (options.output / "scale.txt").write_text(found + "\n")
    (options.output / "scale.svg").write_text(chart(steps))
    return 1 if any(step.wrong for step in steps) else 0


def measure_step(database: str, share: float, options: argparse.Namespace) -> Step:
    """Measure one size on one database, in a directory that is removed afterwards."""
    projects, files = (max(20, int(number * share)) for number in FULL)
    step = Step(database, projects, files)
    rounds = 1 if options.smoke else options.rounds
    with ExitStack() as stack:
        directory = stack.enter_context(working_directory(options.storage, "pypimirror-scale-"))
        url = "sqlite"
        if database == "postgresql":
            directory.chmod(0o755)  # the server runs as a user of its own
            url = stack.enter_context(postgres.server(directory / "postgresql"))
        try:
            Bench(step, directory / "bench", url, rounds).run()
        except Exception as error:  # noqa: BLE001 - what the other sizes cost is worth knowing
            step.wrong.append(f"{type(error).__name__}: {error}")
            tell(f"{database}: {step.wrong[-1]}")
    return step


if __name__ == "__main__":
    sys.exit(main())
