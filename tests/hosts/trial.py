"""Trials: a sync on several hosts, some of which fail at chosen moments.

A moment is a message between a host and a server, so faults need no timer. After each trial, the
mirror root, the upstream's log and the catalog are held against promises 1 to 4, and an undisturbed
run must lead to what it would have led to without any fault.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from sqlalchemy import text

from pypimirror.catalog import holder, states
from pypimirror.catalog.queries.work import claims, workers
from pypimirror.domain.model import Stage
from pypimirror.pipeline import sequence
from pypimirror.pipeline.executors.inline import inline
from pypimirror.pipeline.executors.loop import Call, WorkOff
from pypimirror.pipeline.run import Run
from tests import pools
from tests.checker import check
from tests.crash.harness import differences, leftovers, served, without_serials
from tests.hosts.network import Host, State
from tests.mirror import Mirror
from tests.simulator import Simulator
from tests.simulator.faults import Fault as UpstreamFault
from tests.simulator.simulator import Rule
from tests.simulator.wire import Exchange

#: Seconds between two looks at what other workers have in hand.
EVERY = 0.05

#: How many such looks the workers have to begin.
PATIENCE = 60


class Worker:
    """The process of a host, and the worker that it runs now."""

    def __init__(self, host: Host, lifetime: float, *, is_real: bool = False) -> None:
        self.host = host
        self.is_busy = False
        self._pid = 0
        self._begun = threading.Event()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.hosts.server", host.name, str(lifetime)),
                *(["real"] if is_real else []),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None,
            text=True,
            preexec_fn=host.enter,
        )

    def begin(self, **job: Any) -> None:
        """Start a worker."""
        assert self._process.stdin is not None
        self._begun.clear()
        self.is_busy = True
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        self._pid = int(self._answer()["pid"])
        self._begun.set()

    def signal(self, number: int) -> None:
        """Send the worker a signal."""
        assert self._begun.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, number)

    def end(self) -> dict[str, Any]:
        """Wait for its end; return how it ended."""
        answer = self._answer()
        self.is_busy = False
        assert answer["state"] != "raised", answer["message"]
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@dataclass(frozen=True)
class Fault:
    """What happens to a host at one of its messages, and how many messages later it ends."""

    host: int
    server: str  #: whose messages are counted
    at: int
    kind: str  #: "kill", "stop", or a state of links
    servers: tuple[str, ...] = ()  #: those whose links break; none: all
    lasts: int | None = None  #: in messages of all hosts; None: until the run has ended


#: What may happen to a host; without a network of its own, only the first two.
KINDS = ("kill", "stop", "cut", "silent")


def faults(
    chances: Random, hosts: int, usual: Mapping[str, int], kinds: Sequence[str] = KINDS
) -> list[Fault]:
    """Draw faults. `usual` has the messages of a host in an undisturbed run, by server."""
    found = []
    for _ in range(chances.choice([1, 1, 2, 3])):
        server = chances.choice(sorted(usual))
        kind = chances.choice(kinds)
        found.append(
            Fault(
                chances.randrange(hosts),
                server,
                chances.randint(1, max(2, usual[server] * 2 // 3)),
                kind,
                chances.choice([("catalog",), ("upstream",), ("catalog", "upstream")]),
                chances.choice([None, chances.randint(5, 100)]),
            )
        )
    return found


@dataclass
class Trial:
    """One sync on several hosts."""

    mirror: Mirror
    simulator: Simulator
    workers: Sequence[Worker]
    faults: list[Fault]
    happened: list[Fault] = field(default_factory=list)
    seen: Counter[tuple[int, str]] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)  #: faults of the mirror in the middle of the run

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._mends: list[tuple[int, Callable[[], None]]] = []
        self._held: list[tuple[int, set[str]]] = []
        self._rules: list[Rule] = []
        for number, worker in enumerate(self.workers):
            for server, link in worker.host.links.items():
                link.watch = lambda number=number, server=server: self._message(number, server)
            if not worker.host.is_isolated:
                turn = _Turn(number, len(self.workers), self._message)
                self._rules.append(self.simulator.fault("*", turn))

    # The run

    @contextmanager
    def executor(self, call: Call) -> Iterator[WorkOff]:
        """Work on all hosts, and here as well. What no host does is done here."""

        def work_off(run: Run, stages: Sequence[Stage], number: int, small_ends: bool) -> int:
            assert tuple(stages) == tuple(Stage)
            step = len(self.workers) + 1
            for at, worker in enumerate(self.workers, start=number):
                worker.begin(
                    config=str(self.mirror.file),
                    run=run.id,
                    now=run.now,
                    batch=at,
                    step=step,
                )
            last = number + 1000
            patience = PATIENCE
            while _is_any_left(run):
                begun, working = _others(run)
                patience -= 1
                if not working and (begun == len(self.workers) or patience < 0):
                    last = work_here(run, stages, last + 1, small_ends)
                assert not run.cancelled.wait(EVERY)
            return last

        with inline(call) as work_here:
            yield work_off

    def run(self) -> None:
        """Do the sync and hold it against the promises."""

        def work(run: Run) -> None:
            sequence.sync(run, executor=self.executor)

        summary = self.mirror.sync(work=work, sound=False, make_pools=pools.by_thread)
        assert summary.state in ("completed", "incomplete", "failed"), summary
        assert self.found == []
        agree = summary.state != "failed"
        assert check(self.mirror.root, agree=agree) == []
        before, knows = self.mirror.served(), self.rows()
        self.let_end()
        assert not differences(self.mirror.served(), before), "a late worker has written"
        assert self.rows() == knows, "a late worker has changed the catalog"
        for number, held in self._held:
            assert self.downloaded(held, number) == []

    def let_end(self) -> None:
        """Mend everything, and wait for the workers."""
        with self._lock:
            mends, self._mends = self._mends, []
            for _, mend in mends:
                mend()
        for worker in self.workers:
            if worker.is_busy:
                worker.end()
            for link in worker.host.links.values():
                link.watch = lambda: None
        for rule in self._rules:
            self.simulator.heal(rule)
        self._rules = []

    def resume(self, expected: dict[str, bytes]) -> None:
        """Run once more, undisturbed, and compare."""
        held = self.held()
        self.mirror.query("UPDATE files SET next_try = NULL")  # as if enough time had passed
        self.simulator.forget()
        summary = self.mirror.sync(make_pools=pools.by_thread)
        assert summary.state == "completed", summary
        differs = without_serials(differences(served(self.mirror), expected))
        assert not differs, differs
        assert self.downloaded(held) == []
        assert leftovers(self.mirror) == []

    # What is known

    def held(self) -> set[str]:
        """The files that are verified."""
        rows = self.mirror.query("SELECT filename FROM files WHERE state IN (2, 3)")
        return {row["filename"] for row in rows}

    def rows(self) -> list[Any]:
        """What the catalog knows of projects and files."""
        return [
            self.mirror.query(f"SELECT * FROM {table} ORDER BY id")
            for table in ("projects", "files", "failures")
        ]

    def downloaded(self, names: set[str], since: int = 0) -> list[str]:
        """Which of these files the upstream was asked for."""
        paths = [each.path for each in self.simulator.requests[since:] if each.method == "GET"]
        return [path for path in paths if path.rpartition("/")[2] in names]

    # Faults

    def _message(self, number: int, server: str) -> None:
        with self._lock:
            self.seen[number, server] += 1
            total = sum(self.seen.values())
            for due, mend in [each for each in self._mends if each[0] <= total]:
                self._mends.remove((due, mend))
                mend()
            for fault in self.faults:
                if (fault.host, fault.server, fault.at) == (
                    number,
                    server,
                    self.seen[number, server],
                ):
                    self._happen(fault, total)

    def _happen(self, fault: Fault, total: int) -> None:
        self.happened.append(fault)
        worker = self.workers[fault.host]
        match fault.kind:
            case "kill":
                worker.signal(signal.SIGKILL)
            case "stop":
                worker.signal(signal.SIGSTOP)
                self._mends.append((_after(total, fault), lambda: worker.signal(signal.SIGCONT)))
            case kind:
                worker.host.set(State(kind), *fault.servers)
                self._mends.append((_after(total, fault), lambda: worker.host.set(State.OPEN)))
        self._held.append((len(self.simulator.requests), self.held()))
        self.found += check(self.mirror.root, agree=False)


class _Turn(UpstreamFault):
    """Counts each request as a message of one host in turn: nobody knows whose it is."""

    def __init__(self, number: int, of: int, message: Callable[[int, str], None]) -> None:
        self._number, self._of, self._message = number, of, message

    def before(self, exchange: Exchange) -> None:
        if exchange.request.number % self._of == self._number:
            self._message(self._number, "upstream")


def _after(total: int, fault: Fault) -> int:
    return sys.maxsize if fault.lasts is None else total + fault.lasts


def _others(run: Run) -> tuple[int, int]:
    """How many other workers have begun, and how many of them have claims that hold."""
    here = holder.this_machine()
    with run.catalog.read() as connection:
        found = workers.of_run(connection, run.id)
        others = workers.others(connection, run.id, 0)
    begun = sum(row.executor == states.SHARD for row in found)
    return begun, sum(not each.is_gone(here) for each in others) - (len(found) > begun)


def _is_any_left(run: Run) -> bool:
    with run.catalog.read() as connection:
        query = text("SELECT count(*) FROM claims WHERE NOT done")
        in_hand = connection.execute(query).scalar_one()
        return bool(in_hand) or claims.number_free(connection, 0, 1, None) > 0
