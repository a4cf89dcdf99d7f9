"""Hosts, what they can reach, and the mirrors that they make of it when nothing happens to them."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

from sqlalchemy import make_url

from tests import buckets
from tests.corpus.build import make_wheel
from tests.crash import harness
from tests.databases import Databases
from tests.hosts.network import Host
from tests.hosts.shares import Share
from tests.hosts.trial import KINDS, Fault, Trial, Usual, faults
from tests.hosts.worker import Worker
from tests.mirror import Mirror, offer, offer_sdist
from tests.simulator import Simulator
from tests.simulator.index import Index
from tests.storage.s3.mirrors import InBucket

#: Seconds without a heartbeat until others take over.
LIFETIME = 0.6

PROJECTS = 8
SECTIONS = {"download": {"timeout": 1, "tries": 1}, "delete": {"grace": "0s", "max_share": 1.0}}


class InDirectory:
    """A mirror in a directory that all hosts share."""

    def __init__(self, base: Path, simulator: Simulator, catalog: str) -> None:
        self.mirror = Mirror(base, simulator, mirror={"catalog": catalog}, **SECTIONS)

    def config(self, number: int) -> Path:
        """The configuration, which is the same for all."""
        del number
        return self.mirror.file

    def faults(self, *, agree: bool = True) -> list[str]:
        """What is wrong with promises 1 to 3."""
        return self.mirror.faults(agree=agree)

    def content(self) -> dict[str, bytes]:
        """All files that are served."""
        return harness.served(self.mirror)

    def leftovers(self) -> list[str]:
        """What is left in staging."""
        return harness.leftovers(self.mirror)


class InSharedBucket(InBucket):
    """A mirror in a bucket. Each host has a private directory of its own."""

    def config(self, number: int) -> Path:
        """The configuration of a host: its directory is beside it."""
        file = self.mirror.base / f"host-{number}" / self.mirror.file.name
        file.parent.mkdir(exist_ok=True)
        shutil.copy(self.mirror.file, file)
        return file

    def leftovers(self) -> list[str]:
        """Nothing is said of the private directories of hosts: another run of theirs tidies up."""
        return []


class Site:
    """An upstream in two states, one later than the other, a coordinator, and so many hosts."""

    def __init__(
        self,
        simulator: Simulator,
        databases: Databases,
        base: Path,
        number: int,
        *,
        isolated: bool = True,
        bucket: buckets.Server | None = None,
    ) -> None:
        self.simulator, self.databases, self.base, self.bucket = simulator, databases, base, bucket
        self.indexes = [self._index(later=False), self._index(later=True)]
        port = make_url(databases.server).port
        assert port is not None
        ports = {"upstream": simulator.server.port, "catalog": port}
        if bucket is not None:
            ports["storage"] = urlsplit(bucket.endpoint).port or 0
        names = ("coordinator", *(f"host-{at}" for at in range(1, number + 1)))
        self.hosts = [Host(name, ports, isolated=isolated) for name in names]
        self._shares = Path(tempfile.mkdtemp(prefix="shares-"))
        if bucket is None and self.is_isolated:
            for host in self.hosts:
                host.links["storage"] = Share(self._shares / host.name)
        endpoint = "" if bucket is None else bucket.endpoint
        self.workers = [Worker(host, LIFETIME, kind=endpoint) for host in self.hosts]
        self.happened: Counter[str] = Counter()
        self.usual: list[Usual] = [{}, {}]
        self.expected: dict[str, bytes] = {}
        # The first one compiles statements in processes from which the others are forked: so it
        # must neither begin a thread for a bucket, nor ask at a share from then on.
        self.trial("warm", [[], []], warm=True)
        self.expected = {}
        self.trial("whole", [[], []])

    def _index(self, *, later: bool) -> Index:
        self.simulator.index = index = Index("project")
        for number in range(PROJECTS):
            versions = ["1.0", *(["2.0"] if number % 3 == 1 else [])]
            offer(self.simulator, f"project-{number}", *versions)
        offer_sdist(self.simulator, "project-1", "1.0")
        for name in ("large-1", "large-2"):  # they come in several messages
            wheel = make_wheel(name, "1.0", padding=400_000)
            self.simulator.add_file(name, *wheel, core_metadata=True)
        if later:
            self._change()
        return index

    def _change(self) -> None:
        """Files and projects come, change and go."""
        simulator = self.simulator
        for number in (0, 2, 4, 6):
            offer(simulator, f"project-{number}", "3.0")
        for number in (1, 4):
            simulator.project(f"project-{number}").files[0].remove()
        simulator.project("project-7").files[0].yank("broken")
        simulator.add_file("large-1", *make_wheel("large-1", "2.0", padding=400_000))
        simulator.delete_project("project-3")
        offer(simulator, "project-new", "1.0")

    @property
    def is_isolated(self) -> bool:
        return self.hosts[0].is_isolated

    def random(self, seed: int) -> None:
        """Do a trial with faults that the seed chooses."""
        kinds = KINDS if self.is_isolated else KINDS[:2]
        chances = Random(seed)
        happens = [
            faults(chances, chances.choice(numbers), len(self.hosts) - 1, usual, kinds)
            for numbers, usual in zip(([0, 1, 1, 2], [1, 1, 2]), self.usual, strict=True)
        ]
        print(f"seed {seed}: {happens}", flush=True)
        self.trial(f"trial-{seed}", happens)

    def trial(self, name: str, happens: list[list[Fault]], *, warm: bool = False) -> None:
        """Mirror the upstream, change it, mirror it again, and compare."""
        catalog = self.databases.migrated()
        coordinator, *workers = self.workers
        self.simulator.forget()
        base = self.base / name
        kept: InDirectory | InSharedBucket
        if self.bucket is None or warm:
            kept = InDirectory(base, self.simulator, catalog)
        else:
            sections = {"mirror": {"catalog": catalog}, **SECTIONS}
            part = self.bucket.bucket(connections=2)
            kept = InSharedBucket(base, self.simulator, part, **sections)
        trial = Trial(kept, self.simulator, coordinator, workers, shares=not warm)
        try:
            for number, index in enumerate(self.indexes):
                self.simulator.index = index
                trial.disturbed(happens[number])
                if not any(itertools.chain(*happens)):
                    self.usual[number] = dict(trial.seen)
        finally:
            trial.let_end()
        found = trial.resume(self.expected)
        self.expected = self.expected or found
        self.happened.update(fault.kind for fault in trial.happened)
        self.databases.take_back({catalog})
        shutil.rmtree(base)

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        for host in self.hosts:
            host.close()
        shutil.rmtree(self._shares)
