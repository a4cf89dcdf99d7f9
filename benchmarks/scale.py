"""python -m benchmarks.scale: the cost of a sync on catalogs of growing size.

It makes synthetic catalogs of full size, 740,000 projects and 15 million files, and of a hundredth
and a tenth of that. It runs syncs that find nothing changed, syncs that find 1,000 changed
projects, and commands that change nothing. Text, JSON and a plot of cost against size go to
`benchmarks/results/`. The full size needs 8 GB for SQLite and 10 GB for PostgreSQL. With --keep,
catalogs stay and are used again.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import growth, plot, tools
from benchmarks.__main__ import RESULTS, working_directory
from benchmarks.catalogs import FULL
from benchmarks.growth import CHANGED, CHANGES, ROOT, SAME, TRANSFER, UNMODIFIED, Bench, Step
from benchmarks.report import columns
from benchmarks.rounds import tell
from tests import postgresql

STEPS = (0.01, 0.1, 1.0)
#: More projects than a doubtful sync would ask for.
SMOKE = (0.0014,)

#: Settings of the server, as a careful operator has them, with memory for millions of rows.
_SETTINGS = {
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "maintenance_work_mem": "256MB",
    "jit": "off",
}


def goals(steps: list[Step]) -> list[tuple[str, ...]]:
    """Return for each database: goal, wanted and measured value, whether it is reached, and CPU.

    On a busy machine, CPU says more than time.
    """
    lines: list[tuple[str, ...]] = [("goal", "wanted", "measured", "reached", "in CPU")]

    def line(what: str, limit: float, found: float, unit: str, cpu: str = "") -> None:
        # Other programs may make a difference of two times negative. Then it says nothing.
        reached = "not measured" if found < 0 else "yes" if found <= limit else "NO"
        lines.append((what, f"≤ {limit:g} {unit}", f"{found:.2f} {unit}", reached, cpu))

    for database in dict.fromkeys(step.database for step in steps):
        mine = [step for step in steps if step.database == database and not step.wrong]
        if not mine:
            lines.append((database, "", "not measured", "", ""))
            continue
        last = mine[-1]

        def beyond(
            what: str, limit: float, whole: str, part: str | None, last: Step = last
        ) -> None:
            if part is not None and part not in last.seconds:  # for example without curl
                lines.append((what, "", "not measured", "", ""))
                return
            costs = [c[whole] - (c[part] if part else 0) for c in (last.seconds, last.cpu)]
            line(what, limit, costs[0], "s", f"{costs[1]:.2f} s")

        beyond(f"{database}: 0 changed, beyond the transfer", 5, SAME, TRANSFER)
        line(f"{database}: 0 changed, peak memory", 400, last.peak[SAME] / 1e6, "MB")
        beyond(f"{database}: root index", 5, ROOT, UNMODIFIED)
        beyond(f"{database}: status", 0.5, growth.STATUS, None)
        beyond(f"{database}: runs", 0.5, growth.RUNS, None)
        line(f"{database}: per file", 400, last.bytes_per_file, "bytes")
        if last.claims is not None:
            what = f"{database}: {CHANGED:,} changed, three workers: claims"
            line(what, 3, 100 * last.claims[0], "%", f"{100 * last.claims[1]:.2f} %")
        if last.scanned and last.projects == FULL[0]:  # the server prefers to scan small tables
            # The list is compared with all projects, once.
            again = max(0, last.scanned.get("projects", 0) - last.projects - 1)
            again += last.scanned.get("files", 0)
            line(f"{database}: rows read without an index, beyond the list", 0, again, "rows")
        if len(mine) > 1:
            # Both contain the cost of the list itself, at its own size.
            times, cpu = (
                [costs[CHANGES] - costs[SAME] for costs in pair]
                for pair in ((mine[0].seconds, last.seconds), (mine[0].cpu, last.cpu))
            )
            label = f"{database}: {CHANGED:,} changed, against {mine[0].projects:,} projects"
            line(label, 1.2, times[1] / times[0], "x", f"{cpu[1] / cpu[0]:.2f} x")
    return lines


def text(steps: list[Step]) -> str:
    """Return the report as text."""
    parts = []
    for database in dict.fromkeys(step.database for step in steps):
        mine = [step for step in steps if step.database == database]
        sizes = [f"{step.projects:,} projects, {step.files:,} files" for step in mine]
        rows = [("", *(cell for size in sizes for cell in (size, "CPU s", "MB", "others")), "")]
        names = dict.fromkeys(name for step in mine for name in step.seconds)
        rows += [_row(name, mine) for name in names]
        notes = [
            f"{step.projects:,} projects: {step.bytes_per_file:.0f} bytes of database per file, "
            f"list of {step.list_bytes / 1e6:.1f} MB"
            for step in mine
        ]
        notes += [f"WRONG: {step.projects:,} projects: {w}" for step in mine for w in step.wrong]
        parts.append("\n".join([f"{database}, seconds", columns(rows), *notes]))
    return "\n\n".join([*parts, columns(goals(steps))])


def _row(name: str, steps: list[Step]) -> tuple[str, ...]:
    cells = [name]
    for step in steps:
        seconds = step.seconds.get(name)
        measured = name in step.cpu
        cells += [
            "" if seconds is None else f"{seconds:.2f}",
            f"{step.cpu[name]:.2f}" if measured else "",
            f"{step.peak[name] / 1e6:.0f}" if measured else "",
            f"{step.foreign[name]:.1f}" if measured else "",
        ]
    return (*cells, "")


def chart(steps: list[Step]) -> str:
    """Return the plots of cost against size, one below the other."""
    plots = []
    sizes = sorted({step.projects for step in steps})
    for database in dict.fromkeys(step.database for step in steps):
        found = {step.projects: step for step in steps if step.database == database}
        names = dict.fromkeys(name for step in found.values() for name in step.cpu)
        for what, unit in (("seconds", "s"), ("peak memory", "MB")):
            series: dict[str, list[float | None]] = {
                name: [_value(found.get(size), what, name) for size in sizes] for name in names
            }
            title = f"{database}: {what} against projects in the catalog"
            plots.append(plot.lines(title, sizes, series, unit))
    return plot.stacked(plots)


def _value(step: Step | None, what: str, name: str) -> float | None:
    if step is None or name not in step.cpu:
        return None
    return step.seconds[name] if what == "seconds" else step.peak[name] / 1e6


def main(arguments: list[str] | None = None) -> int:
    """Measure and report; return 1 if a result was wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    add = parser.add_argument
    add("--smoke", action="store_true", help="tiny sizes: see that it works")
    add("--steps", type=float, nargs="+", help="sizes as shares of a whole public index")
    add("--rounds", type=int, default=3)
    add("--database", action="append", choices=["sqlite", "postgresql"])
    add("--storage", type=Path, help="where everything goes (default: memory)")
    add("--keep", type=Path, metavar="DIR", help="keep the catalogs here, and use them again")
    add("--output", type=Path, default=RESULTS)
    add("--install", action="store_true", help="install nginx first")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.install:
        tools.install()
    steps: list[Step] = []
    shares = options.steps or (SMOKE if options.smoke else STEPS)
    for database in options.database or ["sqlite", "postgresql"]:
        why = postgresql.why_not() if database == "postgresql" else None
        if why is not None:
            tell(f"{database}: {why}")
            continue
        for share in shares:
            steps.append(measure_step(database, share, options))
            write(steps, options.output)
    print(text(steps))
    return 1 if any(step.wrong for step in steps) else 0


def write(steps: list[Step], output: Path) -> None:
    """Write the results so far as text, JSON and a plot."""
    document: dict[str, Any] = {
        "machine": tools.facts(),
        "steps": [asdict(step) for step in steps],
        "goals": goals(steps),
    }
    output.mkdir(parents=True, exist_ok=True)
    (output / "scale.json").write_text(json.dumps(document, indent=1) + "\n")
    (output / "scale.txt").write_text(text(steps) + "\n")
    (output / "scale.svg").write_text(chart(steps))


def measure_step(database: str, share: float, options: argparse.Namespace) -> Step:
    """Measure one size on one database, in a directory that is removed afterwards or kept."""
    projects, files = (max(20, int(number * share)) for number in FULL)
    step = Step(database, projects, files)
    rounds = 1 if options.smoke else options.rounds
    with ExitStack() as stack:
        if options.keep:
            directory = options.keep.absolute() / f"{database}-{projects}"
            directory.mkdir(parents=True, exist_ok=True)
        else:
            work = working_directory(options.storage, "pypimirror-scale-")
            directory = stack.enter_context(work)
        url = "sqlite"
        if database == "postgresql":
            directory.chmod(0o755)  # the server runs as another user
            url = stack.enter_context(server(directory / "postgresql"))
        try:
            Bench(step, directory, url, rounds).run()
        except Exception as error:  # noqa: BLE001 - the other sizes are still worth measuring
            step.wrong.append(f"{type(error).__name__}: {error}")
            tell(f"{database}: {step.wrong[-1]}")
    return step


@contextmanager
def server(directory: Path) -> Iterator[str]:
    """Run a PostgreSQL server with its data below `directory`; yield the URL of a database."""
    server = postgresql.Server(directory, _SETTINGS)
    server.start()
    url = server.url("postgres")
    try:
        yield url
        postgresql.execute(url, "CHECKPOINT")  # or the next start would take long
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
