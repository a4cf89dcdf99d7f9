"""Trials: syncs on several hosts, some of which fail at chosen moments.

A moment is a message between a host and a server, or a step in a shared directory, so faults need
no timer. The coordinator of a run may fail like any worker. After each sync, what is served, the
upstream's log and the catalog are held against promises 1 to 4. An undisturbed run must lead to
what it would have led to without any fault.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Protocol

from tests.crash.harness import differences, without_serials
from tests.hosts.network import State
from tests.hosts.worker import Worker
from tests.mirror import Mirror
from tests.simulator import Simulator
from tests.simulator.faults import Fault as UpstreamFault
from tests.simulator.simulator import Rule
from tests.simulator.wire import Exchange

#: Seconds without any message after which all is mended: nothing happens by itself any more.
QUIET = 1.0

#: After so many times `QUIET` all is mended in any case: what is left waits for what is broken.
MOST = 10


class Kept(Protocol):
    """A mirror, wherever its files are."""

    mirror: Mirror

    def config(self, number: int) -> Path:
        """The configuration of a host; 0 is the coordinator's."""

    def faults(self, *, agree: bool = True) -> list[str]:
        """What is wrong with promises 1 to 3."""

    def content(self) -> dict[str, bytes]:
        """All that is served, by path."""

    def leftovers(self) -> list[str]:
        """What should be in the private directory of no mirror that is at rest."""


@dataclass(frozen=True)
class Fault:
    """What happens to a host at one of its messages, and how many messages later it ends."""

    host: int  #: 0 is the coordinator's
    server: str  #: whose messages are counted
    at: int
    kind: str  #: "kill", "stop", or a state of links
    servers: tuple[str, ...] = ()  #: those whose links break; none: all
    lasts: int | None = None  #: in messages of all hosts; None: until the run has ended


#: What may happen to a host; without a network of its own, only the first two.
KINDS = ("kill", "stop", "cut", "silent")

#: Messages of a sync that nothing disturbs, by host and server.
Usual = Mapping[tuple[int, str], int]


def faults(
    chances: Random, number: int, hosts: int, usual: Usual, kinds: Sequence[str] = KINDS
) -> list[Fault]:
    """Draw faults of the coordinator and so many hosts."""
    servers = sorted({server for _, server in usual})
    found = []
    for _ in range(number):
        host, server = chances.randint(0, hosts), chances.choice(servers)
        at = chances.randint(1, max(2, usual.get((host, server), 0) * 2 // 3))
        broken = chances.sample(servers, chances.randint(1, len(servers)))
        lasts = chances.choice([None, chances.randint(5, 100)])
        found.append(Fault(host, server, at, chances.choice(kinds), tuple(broken), lasts))
    return found


@dataclass
class Trial:
    """Syncs of one mirror on several hosts."""

    kept: Kept
    simulator: Simulator
    coordinator: Worker
    workers: Sequence[Worker]
    shares: bool = True  #: whether a directory is reached by the shares of the hosts
    happened: list[Fault] = field(default_factory=list)
    seen: Counter[tuple[int, str]] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)  #: faults of the mirror in the middle of a run

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._faults: list[Fault] = []
        self._mends: list[tuple[int, int, Callable[[], None]]] = []
        self._held: list[tuple[int, set[str]]] = []
        self._rules: list[Rule] = []
        self._all = [self.coordinator, *self.workers]

    # The runs

    def lead(self, *, hosts: int = 0) -> dict[str, Any]:
        """Do a sync, with so many hosts besides the coordinator; return how it ended."""
        self.coordinator.on_run = self._begin_workers
        self.coordinator.begin(**self._job(0), hosts=hosts)
        before, rounds = -1, 0
        while not self.coordinator.has_ended(QUIET):
            rounds += 1
            if (now := self.seen.total()) == before or rounds > MOST:
                self._mend()
            before = now
        return self.coordinator.end()

    def _begin_workers(self, said: Mapping[str, Any]) -> None:
        for number, worker in enumerate(self.workers, start=1):
            worker.begin(**self._job(number), **{**said, "batch": said["batch"] + number})

    def _job(self, number: int) -> dict[str, Any]:
        share = self._all[number].host.links.get("storage") if self.shares else None
        config = str(self.kept.config(number))
        return {"config": config, "share": str(getattr(share, "path", ""))}

    def disturbed(self, happens: list[Fault]) -> None:
        """Do a sync in which this happens, and hold it against the promises.

        If the coordinator does not end well, another run takes over at once, while workers of the
        first may still be at work.
        """
        self._hold()
        self._watch(happens)
        ended = self.lead(hosts=len(self.workers))
        assert ended["state"] in (*ENDED, *ENDED_EARLY), ended
        if ended["state"] not in ENDED:
            with self._lock:
                self._faults = [fault for fault in self._faults if fault.host]
                self._mend(0)
            ended = self.lead()
            assert ended["state"] in ENDED, ended
        assert self.found == []
        assert self.kept.faults() == []
        before, knows = self.kept.content(), self.rows()
        self.let_end()
        assert not differences(self.kept.content(), before), "a late worker has written"
        assert self.rows() == knows, "a late worker has changed the catalog"
        for since, held in self._held:
            assert self.downloaded(held, since) == []
        self._held.clear()

    def let_end(self) -> None:
        """Mend everything, and wait for the workers."""
        with self._lock:
            self._faults = []
        self._mend()
        for worker in self._all:
            worker.end() if worker.is_busy else None
            for link in worker.host.links.values():
                link.watch = lambda: None
        for rule in self._rules:
            self.simulator.heal(rule)
        self._rules = []

    def resume(self, expected: dict[str, bytes]) -> dict[str, bytes]:
        """Run once more, undisturbed, and compare with what is expected, if that is known.

        Return what is served.
        """
        held, since = self.held(), len(self.simulator.requests)
        self.kept.mirror.query("UPDATE files SET next_try = NULL")  # as if time had passed
        self.kept.mirror.configure(download={"timeout": 60, "tries": 3})
        ended = self.lead()
        assert ended["state"] == "completed", ended
        found = self.kept.content()
        differs = without_serials(differences(found, expected or found))
        assert not differs, differs
        assert self.downloaded(held, since) == []
        assert self.kept.leftovers() == []
        twice = "SELECT run_id, stage, batch FROM stages GROUP BY 1, 2, 3 HAVING count(*) > 1"
        assert self.kept.mirror.query(twice) == []
        return found

    # What is known

    def held(self) -> set[str]:
        """The files that are verified."""
        rows = self.kept.mirror.query("SELECT filename FROM files WHERE state IN (2, 3)")
        return {row["filename"] for row in rows}

    def _hold(self) -> None:
        self._held.append((len(self.simulator.requests), self.held()))

    def rows(self) -> list[Any]:
        """What the catalog knows of projects and files."""
        return [
            self.kept.mirror.query(f"SELECT * FROM {table} ORDER BY id")
            for table in ("projects", "files", "failures")
        ]

    def downloaded(self, names: set[str], since: int) -> list[str]:
        """Which of these files the upstream was asked for."""
        paths = [each.path for each in self.simulator.requests[since:] if each.method == "GET"]
        return [path for path in paths if path.rpartition("/")[2] in names]

    # Faults

    def _watch(self, happens: list[Fault]) -> None:
        self._faults = list(happens)
        self.seen.clear()
        for number, worker in enumerate(self._all):
            for server, link in worker.host.links.items():
                link.watch = lambda number=number, server=server: self._message(number, server)
            if not worker.host.is_isolated:
                turn = _Turn(number, len(self._all), self._message)
                self._rules.append(self.simulator.fault("*", turn))

    def _message(self, number: int, server: str) -> None:
        with self._lock:
            self.seen[number, server] += 1
            total = self.seen.total()
            for due in [each for each in self._mends if each[0] <= total]:
                self._mends.remove(due)
                due[2]()
            at = self.seen[number, server]
            for fault in self._faults:
                if (fault.host, fault.server, fault.at) == (number, server, at):
                    self._happen(fault, total)

    def _happen(self, fault: Fault, total: int) -> None:
        self.happened.append(fault)
        worker = self._all[fault.host]
        until = sys.maxsize if fault.lasts is None else total + fault.lasts
        match fault.kind:
            case "kill":
                worker.signal(signal.SIGKILL)
            case "stop":
                worker.signal(signal.SIGSTOP)
                mend = lambda: worker.signal(signal.SIGCONT)  # noqa: E731
                self._mends.append((until, fault.host, mend))
            case kind:
                worker.host.set(State(kind), *fault.servers)
                mend = lambda: worker.host.set(State.OPEN)  # noqa: E731
                self._mends.append((until, fault.host, mend))
        with self._frozen():
            self._hold()
            self.found += self.kept.faults(agree=False)

    def _mend(self, host: int | None = None) -> None:
        """Mend everything, or one host."""
        with self._lock:
            for mend in [each for each in self._mends if host in (None, each[1])]:
                self._mends.remove(mend)
                mend[2]()

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        """Let all processes stand still: nothing changes while everything is looked at."""
        for each in self._all:
            each.freeze()
        try:
            yield
        finally:
            for each in self._all:
                each.thaw()


#: How a run ends that has done all that it could.
ENDED = ("completed", "incomplete")

#: How it ends that could not do all; the last are errors before it was recorded, or of a catalog
#: that cannot be reached when the record is closed.
ENDED_EARLY = (
    *("failed", "cancelled", "killed"),
    *("LeaseLostError", "CatalogError", "StorageError", "BucketError"),
    *("OperationalError", "InterfaceError", "DBAPIError"),
)


class _Turn(UpstreamFault):
    """Counts each request as a message of one host in turn: nobody knows whose it is."""

    def __init__(self, number: int, of: int, message: Callable[[int, str], None]) -> None:
        self._number, self._of, self._message = number, of, message

    def before(self, exchange: Exchange) -> None:
        if exchange.request.number % self._of == self._number:
            self._message(self._number, "upstream")
