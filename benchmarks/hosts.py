"""python -m benchmarks.hosts: a first sync by three workers on three hosts, against one worker.

Each host has a network of its own. The upstream answers after 50 ms, and each worker may have four
connections, so what is measured is whether the workers keep out of each other's way: in the
catalog, which is on PostgreSQL, and in the mirror root, which they share. All of them run on this
machine, so they also share its cores. The upstream is a process of its own. A first sync by all
workers is not measured: it compiles modules and statements. The server of the catalog logs how long
writers wait for each other.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks import corpus
from benchmarks.__main__ import RESULTS, working_directory
from benchmarks.measure import cpu_of, tree
from benchmarks.shapes import Shape
from benchmarks.upstream import Server
from pypimirror.config.settings import load
from pypimirror.domain.model import Stage
from pypimirror.pipeline import lifecycle, sequence
from pypimirror.pipeline.executors.inline import inline
from pypimirror.pipeline.executors.loop import Call, WorkOff
from pypimirror.pipeline.run import Run
from tests import postgresql
from tests.checker import check
from tests.databases import Databases
from tests.hosts.network import Host
from tests.hosts.worker import Worker

DELAY, CONNECTIONS, HOSTS, GOAL = 0.05, 4, 3, 2.6
LIFETIME = 60.0

#: Settings of PostgreSQL: it logs each wait of a millisecond or more.
LOGGED = {"log_lock_waits": "on", "deadlock_timeout": "1ms"}
_WAIT = re.compile(r"acquired ExclusiveLock on advisory lock .* after ([0-9.]+) ms")


def seconds(home: Path, upstream: str, catalog: str, workers: Sequence[Worker]) -> float:
    """Return how long a first sync by these workers takes."""
    home.mkdir()
    config = home / "pypimirror.toml"
    config.write_text(
        f'[mirror]\ncatalog = "{catalog}"\n[download]\nprocesses = 1\n'
        f"connections = {CONNECTIONS}\n"  # of each process
        f'[[upstream]]\nname = "bench"\nurl = "{upstream}/simple/"\n'
    )
    work = partial(sequence.sync, executor=partial(executor, config, workers))
    started = time.perf_counter()
    summary = lifecycle.sync(load(config), (), work, trigger="benchmark")
    took = time.perf_counter() - started
    if summary.state != "completed" or (faults := check(home / "mirror")):
        raise SystemExit(f"hosts: {summary.state}: {summary.message} {faults[:3]}")
    return took


@contextmanager
def executor(config: Path, workers: Sequence[Worker], call: Call) -> Iterator[WorkOff]:
    """Let the workers do everything."""

    def work_off(run: Run, stages: Sequence[Stage], number: int, small_ends: bool) -> int:
        del stages, small_ends
        step = len(workers)
        for at, worker in enumerate(workers, start=number):
            worker.begin(config=str(config), run=run.id, now=run.now, batch=at, step=step)
        for worker in workers:
            worker.end()
        return number + 1_000

    with inline(call):
        yield work_off


def compare(directory: Path, projects: int, rounds: int) -> Iterator[str]:
    """Yield a line for each round, and the result."""
    shape = Shape("hosts", projects, 2 * projects, 2 * projects * 4_000, wheels_only=True)
    made = corpus.build(directory / "corpus", shape)
    ratios = []
    with ExitStack() as stack:
        server = stack.enter_context(postgresql.running(postgresql.FAST | LOGGED))
        databases = Databases(server.url("postgres"))
        served = Server(made.directory, directory / "upstream", delay=DELAY)
        base = stack.enter_context(served).base
        made.render(base)
        ports = {"upstream": int(urlsplit(base).port or 0), "catalog": server.port}
        workers = []
        for number in range(HOSTS):
            host = stack.enter_context(closing(Host(f"host-{number}", ports)))
            workers.append(stack.enter_context(closing(Worker(host, LIFETIME, kind="real"))))

        def sync(name: str, count: int) -> tuple[float, str]:
            before, waits = _cpu(), len(_waits(server))
            took = seconds(directory / name, base, databases.migrated(), workers[:count])
            waited = _waits(server)[waits:]
            return took, (
                f"{took:.2f} s ({_cpu() - before:.1f} s of CPU with all servers; writers waited "
                f"{sum(waited):.2f} s for each other, {len(waited)} times)"
            )

        sync("warm", HOSTS)
        for number in range(rounds):
            one, one_said = sync(f"{number}-one", 1)
            all_, all_said = sync(f"{number}-all", HOSTS)
            ratios.append(one / all_)
            yield (
                f"{projects:,} projects, {shape.files:,} files: one worker {one_said}, "
                f"{HOSTS} workers {all_said}: {ratios[-1]:.2f} times as fast"
            )
    ratio = statistics.median(ratios)
    yield f"{HOSTS} hosts: {ratio:.2f} times one (>= {GOAL:g}): {'yes' if ratio >= GOAL else 'NO'}"


def _cpu() -> float:
    """Return the processor time of this process and of all that it has started, in seconds."""
    return cpu_of(tree(os.getpid()))


def _waits(server: postgresql.Server) -> list[float]:
    """Return the seconds of each wait for the lock of writers, as far as the server has logged."""
    return [float(found) / 1000 for found in _WAIT.findall((server.directory / "log").read_text())]


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and keep what was printed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hosts", description=__doc__)
    parser.add_argument("--projects", type=int, default=600, help="default: 600")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    found = parser.parse_args(arguments)
    if (why := postgresql.why_not()) is not None:
        sys.exit(why)
    lines = []
    with working_directory(None, "hosts-") as directory:
        for line in compare(directory, found.projects, found.rounds):
            print(line, flush=True)
            lines.append(line)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "hosts.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
