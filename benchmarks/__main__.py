"""python -m benchmarks: compare pypimirror with its peers and with the machine.

Builds the corpora, starts the upstream, lets every contestant do the same work in turn, checks
each result, and prints tables of medians. Text, JSON and a plot go to `benchmarks/results/`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import corpus, mirrors, plot, references, report, shapes, tools
from benchmarks.contestant import Contestant, Scenario, Site
from benchmarks.rounds import Table, measure_site, tell
from benchmarks.shapes import Shape
from benchmarks.upstream import Server

RESULTS = tools.ROOT / "benchmarks" / "results"
_ROOM = 14 << 30  #: bytes of space that the largest corpus and its mirrors need


@dataclass(frozen=True)
class Setting:
    """A corpus, and how it is served."""

    shape: Shape
    delay: float = 0.0
    tls: bool = False
    on_disk: bool = False
    rounds: int | None = None  #: at most this many
    scenarios: tuple[Scenario, ...] = (Scenario.FIRST,)


ALL = tuple(scenario for scenario in Scenario if scenario is not Scenario.START)
SETTINGS = {
    "long-tail": Setting(shapes.LONG_TAIL, scenarios=ALL),
    "disk": Setting(shapes.LONG_TAIL, on_disk=True),
    "latency": Setting(shapes.LONG_TAIL, delay=0.05),
    "tls": Setting(shapes.LONG_TAIL, tls=True),
    "tiny": Setting(shapes.TINY, scenarios=(Scenario.FIRST, Scenario.START)),
    "huge": Setting(shapes.HUGE),
    "many": Setting(shapes.MANY, rounds=1, scenarios=(Scenario.FIRST, Scenario.SAME)),
    "some": Setting(shapes.SOME, scenarios=(Scenario.FIRST, Scenario.SAME)),
    "real": Setting(shapes.REAL, scenarios=(Scenario.FIRST, Scenario.SAME)),
    "wheels": Setting(shapes.WHEELS, tls=True, scenarios=(Scenario.FIRST, Scenario.SAME)),
}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    everybody = [contestant.name for contestant in contestants([])]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--smoke", action="store_true", help="tiny sizes and one round: see that it works")
    add("--install", action="store_true", help="install programs and fetch wheels first")
    add("--rounds", type=int, default=3, help="rounds of each scenario (default: 3)")
    add("--corpus", action="append", choices=[*SETTINGS], help="only this one; may be repeated")
    add("--scenario", action="append", choices=[*map(str, Scenario)], help="the same")
    add("--contestant", action="append", choices=everybody, help="the same")
    add("--earlier", type=Path, help="the source tree of an earlier build, to compare with")
    add("--storage", type=Path, help="where corpus and mirrors go (default: memory)")
    add("--disk", type=Path, default=RESULTS, help="where the mirrors of the corpus 'disk' go")
    add("--output", type=Path, default=RESULTS, help="where the report goes")
    add("--json", action="store_true", help="print the report as JSON instead of text")
    return parser.parse_args(arguments)


def contestants(names: list[str]) -> list[Contestant]:
    """Return the named contestants, or all."""
    found = [*mirrors.everything(), *references.everything()]
    return [one for one in found if not names or one.name in names]


@contextlib.contextmanager
def working_directory(where: Path | None, prefix: str) -> Iterator[Path]:
    """Yield a directory that is removed at the end; in memory unless the options say otherwise."""
    memory = Path("/dev/shm")
    if where is None and memory.is_dir() and shutil.disk_usage(memory).free > _ROOM:
        where = memory
    if where is not None:
        where.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=where))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def run(options: argparse.Namespace) -> Table:
    """Run the measurements that the options ask for."""
    table = Table()
    taking_part = contestants(options.contestant or smoke_contestants(options.smoke))
    names = options.corpus or (["long-tail", "latency", "tls"] if options.smoke else [*SETTINGS])
    try:
        with working_directory(options.storage, "pypimirror-bench-") as directory:
            built: corpus.Corpus | None = None
            for number, name in enumerate(names):
                setting = SETTINGS[name]
                shape = shapes.SMOKE[setting.shape] if options.smoke else setting.shape
                if built is None or built.shape != shape:
                    if built is not None:
                        shutil.rmtree(built.directory)
                    tell(f"{name}: building the corpus")
                    built = corpus.build(directory / f"corpus-{number}", shape)
                if built.projects:
                    one(table, name, setting, built, directory, taking_part, options)
                else:
                    tell(f"{name}: nothing to mirror; run python -m tests.corpus.fetch corpus")
    finally:
        for contestant in taking_part:
            contestant.close()
    return table


def smoke_contestants(smoke: bool) -> list[str]:
    """Return the contestants of the small version: those that start quickly."""
    return ["pypimirror", "pypimirror's engine", "curl"] if smoke else []


def one(
    table: Table,
    name: str,
    setting: Setting,
    built: corpus.Corpus,
    directory: Path,
    taking_part: list[Contestant],
    options: argparse.Namespace,
) -> None:
    """Measure one corpus."""
    rounds = 1 if options.smoke else min(options.rounds, setting.rounds or options.rounds)
    scenarios = [
        scenario
        for scenario in setting.scenarios
        if not options.scenario or scenario in options.scenario
    ]
    where = options.disk if setting.on_disk else directory
    with (
        working_directory(where, ".homes-") as homes,
        Server(built.directory, directory / "server", setting.delay, setting.tls) as server,
    ):
        built.render(server.base)
        size = f"{len(built.projects)} projects, {len(built.items)} files, {built.size / 1e6:.0f}"
        tell(f"{name}: {size} MB, served by {server.kind}")
        site = Site(built, server, homes, name, setting.on_disk)
        measure_site(table, site, taking_part, scenarios, rounds, tell)


def main(arguments: list[str] | None = None) -> int:
    """Measure and report; return 1 if a result was wrong."""
    options = parse(arguments)
    mirrors.Earlier.tree = options.earlier and options.earlier.resolve()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.install:
        tools.install()
    facts = tools.facts()
    if options.smoke:
        facts["sizes"] = "tiny: these figures say nothing"
    table = run(options)
    found = report.document(table, facts)
    text = report.text(table, facts)
    print(json.dumps(found, indent=1) if options.json else text)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "report.json").write_text(json.dumps(found, indent=1) + "\n")
    (options.output / "report.txt").write_text(text + "\n")
    (options.output / "report.svg").write_text(plot.bars(table))
    return 1 if any(row.wrong for row in table.rows) else 0


if __name__ == "__main__":
    sys.exit(main())
