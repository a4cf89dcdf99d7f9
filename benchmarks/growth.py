"""The measurements on one catalog, of one size on one database, for `benchmarks.scale`.

A catalog may be kept and used again: `kept.json` beside it has everything that a later round needs.
Nothing here knows goals or reports.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import catalogs, measure
from benchmarks.catalogs import Synthetic
from benchmarks.measure import Cost
from benchmarks.rounds import tell
from benchmarks.upstream import Server, free_port
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.marks import ROOT_INDEX, STALE
from pypimirror.catalog.queries import marks
from pypimirror.config.settings import load
from tests.environment import isolated

CHANGED = 1_000  #: projects that change, if there are that many

TRANSFER = "transfer of the list"
SAME = "sync, 0 changed"
UNMODIFIED = "sync, list not modified"
ROOT = "sync, root index only"  #: rendered completely; after changes it is amended
CHANGES = f"sync, {CHANGED:,} changed"
WITHDRAWALS = f"sync, {CHANGED:,} files withdrawn"
REHEARSAL = "dry run, 0 changed"
SHARED = f"sync, {CHANGED:,} changed, three workers"
WORKERS = 3
STATUS, RUNS = "status", "runs"
COUNT = "counting all files"

#: Commands that change nothing.
LOOKS: dict[str, tuple[str, ...]] = {
    STATUS: ("status", "--json"),
    "status of a project": ("status", catalogs.SEED, "--json"),
    RUNS: ("runs", "--json"),
    "runs show": ("runs", "show", "last", "--json"),
    "runs show --files": ("runs", "show", "last", "--files", "--json"),
    "metrics": ("metrics",),
    "explain": ("explain", catalogs.SEED, "--json"),
    "retry, nothing left": ("retry", "--inline", "--json"),
}


@dataclass
class Step:
    """The cost of one size, in seconds and bytes."""

    database: str
    projects: int
    files: int
    seconds: dict[str, float] = field(default_factory=dict)
    peak: dict[str, int] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    foreign: dict[str, float] = field(default_factory=dict)
    bytes_per_file: float = 0.0
    list_bytes: int = 0
    #: A worker's seconds in claims, as a share of the run's; and the same in processor time.
    claims: tuple[float, float] | None = None
    #: Rows that a sync of three workers has read without an index, by table.
    scanned: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


@dataclass
class _Kept:
    """The state of a kept catalog."""

    port: int  #: port of its upstream, which is in the addresses of all files
    changes: int = 0  #: how often the projects that change have changed
    etag: int = 1_700_000_000
    fill: float = 0.0  #: seconds


class Bench:
    """One catalog of one size, and an upstream for it."""

    def __init__(self, step: Step, directory: Path, url: str, rounds: int) -> None:
        self.step = step
        self.synthetic = Synthetic(step.projects, step.files)
        self.root, self.home = directory / "upstream", directory / "home"
        self.config = self.home / "pypimirror.toml"
        self._memory = directory / "kept.json"
        self._url = url
        self._rounds = rounds
        self._base = ""
        count = min(CHANGED, step.projects // 2)
        self._changed = [n * (step.projects // count) for n in range(count)]

    def run(self) -> None:
        """Measure everything."""
        with self.prepared():
            self._measure()

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Fill the catalog if it is not kept, and run its upstream."""
        is_new = not self._memory.exists()
        self._kept = _Kept(free_port()) if is_new else _Kept(**json.loads(self._memory.read_text()))
        self.root.mkdir(parents=True, exist_ok=True)
        self.home.mkdir(exist_ok=True)
        with Server(self.root, self.home / "server", port=self._kept.port) as server:
            self._base = server.base
            self.config.write_text(
                f'[mirror]\ncatalog = "{self._url}"\n[delete]\nmax_share = 1.0\n'
                f'[[upstream]]\nname = "{catalogs.UPSTREAM}"\nurl = "{server.base}/simple/"\n'
                'recheck = "0s"\n'  # of projects without a page here
            )
            if is_new:
                self._fill()
            yield

    def _fill(self) -> None:
        step = self.step
        tell(f"{step.database}: filling a catalog of {step.files:,} files")
        started = time.perf_counter()
        self.synthetic.seed(self.root, self._base)
        # Before the first run: later it would look as if somebody had restored the mirror.
        self.synthetic.place(self.home / "mirror", self._changed)
        self._once("seed", self._sync())
        self.synthetic.fill(self.config, self._base)
        with self._catalog() as catalog:
            step.wrong += catalogs.unlike(catalog)
        self._kept.fill = time.perf_counter() - started
        self._keep()

    def _keep(self) -> None:
        self._memory.write_text(json.dumps(vars(self._kept)))

    def _measure(self) -> None:
        step, settings = self.step, load(self.config)
        step.seconds["fill (not a goal)"] = self._kept.fill
        with self._catalog() as catalog, catalog.read() as connection:
            figures = catalogs.statistics.last(connection)
            step.seconds[COUNT] = figures.took if figures else 0.0
        step.bytes_per_file = catalogs.size_of(settings.catalog_url, settings.private) / step.files
        self.synthetic.write_list(self.root, self._changed, self._kept.changes)
        step.list_bytes = (self.root / "simple.json").stat().st_size
        self._touch()
        self._once("first", self._sync())
        if shutil.which("curl"):  # else its goal is not measured
            self._median(TRANSFER, self._transfer)
        self._median(REHEARSAL, self._rehearse)
        self._median(SAME, self._touch_and_sync)
        self._median(UNMODIFIED, self._sync)
        self._median(ROOT, self._sync_root)
        self._median(CHANGES, lambda: self._change(1))
        if step.database == "postgresql":
            self._share()
        for name, arguments in LOOKS.items():
            self._median(name, lambda arguments=arguments: self._command(*arguments))  # type: ignore[misc]
        self._median(WITHDRAWALS, lambda: self._change(-1))

    def _share(self) -> None:
        """Measure the share of claims when three workers sync the changes."""
        shares: list[tuple[float, float]] = []
        rows = self._rows_scanned()

        def once() -> Cost:
            cost = self._change(1, "-m", "benchmarks.claimed", str(WORKERS))
            told = json.loads(cost.output) if not cost.status else {"workers": []}
            if told["workers"]:
                claims, cpu = (sum(w[n] for w in told["workers"]) for n in ("claims", "claims_cpu"))
                shares.append((claims / WORKERS / told["seconds"], cpu / cost.cpu))
            return cost

        self._median(SHARED, once)
        if shares:
            self.step.claims = sorted(shares)[len(shares) // 2]
        scanned = {table: now - rows[table] for table, now in self._rows_scanned().items()}
        self.step.scanned = {table: n // self._rounds for table, n in scanned.items() if n}

    def _rows_scanned(self) -> dict[str, int]:
        """Return the rows that the server has read in scans of whole tables, by table."""
        query = "SELECT relname, seq_tup_read FROM pg_stat_user_tables ORDER BY relname"
        with self._catalog() as catalog, catalog.read() as connection:
            connection.rows("SELECT pg_stat_force_next_flush()")
            return {name: int(rows) for name, rows in connection.rows(query)}

    def _change(self, by: int, *command: str) -> Cost:
        """Add a file to each changing project, or remove one, and sync, by a command if given."""
        self._kept.changes += by
        self.synthetic.write_changes(self.root, self._base, self._changed, self._kept.changes)
        self.synthetic.write_list(self.root, self._changed, self._kept.changes)
        self._touch()
        cost = self._python(*command) if command else self._sync()
        counts = json.loads(cost.output)["counts"] if not cost.status else {}
        name = "files_verified" if by > 0 else "files_withdrawn"
        if counts.get(name) != len(self._changed):
            self.step.wrong.append(f"{len(self._changed)} changed: {counts}")
        return cost

    def _once(self, what: str, cost: Cost) -> None:
        if cost.status:
            self.step.wrong.append(f"{what}: exit code {cost.status}: {cost.errors[-300:]}")

    def _median(self, what: str, once: Callable[[], Cost]) -> None:
        costs = [once() for _ in range(self._rounds)]
        step = self.step
        for cost in costs:
            self._once(what, cost)
        step.seconds[what] = statistics.median(cost.seconds for cost in costs)
        step.cpu[what] = statistics.median(cost.cpu for cost in costs)
        step.peak[what] = max(cost.peak for cost in costs)
        step.foreign[what] = max(cost.foreign for cost in costs)
        tell(
            f"{step.database}, {step.files:,} files, {what}: {step.seconds[what]:.2f} s, "
            f"{step.cpu[what]:.2f} s of CPU, {step.peak[what] / 1e6:.0f} MB, "
            f"others' CPU {step.foreign[what]:.1f} s"
        )

    def _touch(self) -> None:
        """Give the list a new ETag."""
        self._kept.etag += 1
        os.utime(self.root / "simple.json", (self._kept.etag, self._kept.etag))
        self._keep()

    def _touch_and_sync(self) -> Cost:
        self._touch()
        cost = self._sync()
        if not cost.status and json.loads(cost.output)["counts"]["projects_changed"]:
            self.step.wrong.append("a sync on an unchanged list found changes")
        return cost

    def _rehearse(self) -> Cost:
        self._touch()
        return self._command("sync", "--dry-run", "--json", "--quiet")

    def _sync(self) -> Cost:
        return self._command("sync", "--inline", "--json", "--quiet")

    def _sync_root(self) -> Cost:
        with self._catalog() as catalog, catalog.write() as connection:
            marks.write(connection, ROOT_INDEX, STALE)
        # It stays there: without it, the mirror would look as if it had been restored.
        index = self.home / "mirror" / "simple" / "index.v1_json"
        before = index.stat().st_ino
        cost = self._sync()
        if index.stat().st_ino == before:
            self.step.wrong.append("the root index was not written")
        return cost

    @contextmanager
    def _catalog(self) -> Iterator[Catalog]:
        catalog = Catalog.open(load(self.config).catalog_url)
        try:
            yield catalog
        finally:
            catalog.close()

    def _command(self, *arguments: str) -> Cost:
        return self._python("-m", "pypimirror", *arguments)

    def _python(self, *arguments: str) -> Cost:
        env = isolated() | {"PYTHONPATH": str(Path(__file__).parent.parent)}
        return measure.run([sys.executable, *arguments], env=env, cwd=self.home, timeout=1200)

    def _transfer(self) -> Cost:
        command = ["curl", "-q", "-s", "-f", "-o", "list", f"{self._base}/simple/"]
        return measure.run(command, env=isolated(), cwd=self.home, timeout=120)
