"""What claims cost: a sync whose projects several workers share, each counting its time in them.

python -m benchmarks.claimed WORKERS

Runs in the directory of a configuration. A worker is a process that joins the run as a shard does.
It adds up the seconds in every function that claims, releases, renews or fences. Prints a JSON
document: the seconds of the run, and for each worker its seconds, those in claims, and the
processor time of both.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Any

from pypimirror.catalog.claims import Worker
from pypimirror.catalog.queries.work import workers
from pypimirror.catalog.states import SHARD
from pypimirror.config.settings import load
from pypimirror.domain.model import Stage
from pypimirror.pipeline import lifecycle, sequence
from pypimirror.pipeline.context.reporter import LogReporter
from pypimirror.pipeline.executors import joining
from pypimirror.pipeline.executors.inline import inline
from pypimirror.pipeline.executors.loop import Call, WorkOff
from pypimirror.pipeline.run import Run

CONFIG = Path("pypimirror.toml")
_COUNTED = ("begin", "claim", "number_free", "release", "fence", "renew", "give_back")


class Meter:
    """Adds up the time that threads spend in some functions, also if one calls another."""

    def __init__(self) -> None:
        self.calls = 0
        self.seconds = self.cpu = 0.0
        self._lock = threading.Lock()
        self._inside = threading.local()

    def count(self, owner: type, name: str) -> None:
        """Count the calls of a method from now on."""
        setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def counted(*arguments: Any, **options: Any) -> Any:
            if getattr(self._inside, "is_inside", False):
                return method(*arguments, **options)
            self._inside.is_inside = True
            before = time.perf_counter(), time.thread_time()
            try:
                return method(*arguments, **options)
            finally:
                self._inside.is_inside = False
                with self._lock:
                    self.calls += 1
                    self.seconds += time.perf_counter() - before[0]
                    self.cpu += time.thread_time() - before[1]

        return counted


def work(order: dict[str, Any]) -> dict[str, float]:
    """Be a worker of a run until no project is free. Return its costs in seconds."""
    meter = Meter()
    for name in _COUNTED:
        meter.count(Worker, name)
    started = time.perf_counter(), time.process_time()
    with joining.join(
        load(CONFIG),
        order["run"],
        executor=SHARD,
        worker=str(order["number"]),
        agreed=order["agreed"],
        reporter=LogReporter(),
    ) as (run, loop):
        loop.work_off(
            run, sequence.perform, tuple(Stage), order["batch"], small_ends=True, step=order["step"]
        )
    return {
        "seconds": time.perf_counter() - started[0],
        "cpu": time.process_time() - started[1],
        "calls": meter.calls,
        "claims": meter.seconds,
        "claims_cpu": meter.cpu,
    }


@contextmanager
def executor(count: int, told: list[dict[str, float]], call: Call) -> Iterator[WorkOff]:
    """Let `count` other processes do the work, and keep what they tell."""

    def work_off(run: Run, stages: Sequence[Stage], number: int, small_ends: bool) -> int:
        del stages, small_ends
        shared = {"run": run.name, "agreed": joining.told(run), "step": count}
        orders = [{"number": at, "batch": number + at, **shared} for at in range(count)]
        command = [sys.executable, "-m", "benchmarks.claimed", "--work"]
        processes = [
            subprocess.Popen([*command, json.dumps(order)], stdout=subprocess.PIPE)
            for order in orders
        ]
        told.extend(json.loads(process.communicate()[0]) for process in processes)
        with run.catalog.read() as connection:
            rows = workers.of_run(connection, run.id)
        run.ledger.learn_from_catalog(rows)
        return number + 1_000_000

    with inline(call):
        yield work_off


def lead(count: int) -> dict[str, Any]:
    """Sync with `count` workers. Return what the run and the workers cost."""
    told: list[dict[str, float]] = []
    started = time.perf_counter()
    work = partial(sequence.sync, executor=partial(executor, count, told))
    summary = lifecycle.sync(load(CONFIG), (), work, trigger="benchmark")
    return {
        "seconds": time.perf_counter() - started,
        "state": summary.state,
        "counts": summary.counts,
        "workers": told,
    }


if __name__ == "__main__":
    found = work(json.loads(sys.argv[2])) if sys.argv[1] == "--work" else lead(int(sys.argv[1]))
    print(json.dumps(found))
