"""python -m benchmarks.hosts: a first sync by three workers on three hosts, against one worker.

Each host has a network of its own. The upstream answers after 50 ms, and each worker may have four
connections, so what is measured is whether the workers keep out of each other's way: in the
catalog, which is on PostgreSQL, and in the mirror root, which they share. All of them run on this
machine, so they also share its cores.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.__main__ import RESULTS, working_directory
from tests import postgresql
from tests.databases import Databases
from tests.hosts.network import Host
from tests.hosts.site import InDirectory
from tests.hosts.trial import Trial
from tests.hosts.worker import Worker
from tests.mirror import offer
from tests.simulator import Simulator

DELAY, CONNECTIONS, HOSTS, GOAL = 0.05, 4, 3, 2.6
LIFETIME = 60.0


def seconds(kept: InDirectory, simulator: Simulator, workers: list[Worker]) -> float:
    """Return how long a first sync takes, by these workers but the first, which coordinates it."""
    trial = Trial(kept, simulator, workers[0], workers[1:])
    started = time.perf_counter()
    ended = trial.lead(hosts=len(workers) - 1)
    took = time.perf_counter() - started
    trial.let_end()
    if ended["state"] != "completed" or (faults := kept.faults()):
        raise SystemExit(f"hosts: {ended}: {faults[:3]}")
    return took


def compare(directory: Path, projects: int, rounds: int) -> Iterator[str]:
    """Yield a line for each round, and the result."""
    ratios = []
    with postgresql.running() as server, Simulator() as simulator:
        databases = Databases(server.url("postgres"))
        for number in range(projects):
            offer(simulator, f"project-{number}", "1.0", "2.0")
        ports = {"upstream": simulator.server.port, "catalog": server.port}
        hosts = [Host(f"host-{number}", ports) for number in range(HOSTS + 1)]
        workers = [Worker(host, LIFETIME, kind="real") for host in hosts]
        for number in range(rounds):
            took = {}
            for count in (1, HOSTS):
                simulator.latency = DELAY
                base = directory / f"{number}-{count}"
                kept = InDirectory(base, simulator, databases.migrated())
                kept.mirror.configure(download={"connections": CONNECTIONS, "timeout": 30})
                took[count] = seconds(kept, simulator, workers[: count + 1])
            ratios.append(took[1] / took[HOSTS])
            yield (
                f"{projects:,} projects, {2 * projects:,} files: one worker {took[1]:.2f} s, "
                f"{HOSTS} workers {took[HOSTS]:.2f} s: {ratios[-1]:.2f} times as fast"
            )
        for worker in workers:
            worker.close()
        for host in hosts:
            host.close()
    ratio = statistics.median(ratios)
    yield f"{HOSTS} hosts: {ratio:.2f} times one (>= {GOAL:g}): {'yes' if ratio >= GOAL else 'NO'}"


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
