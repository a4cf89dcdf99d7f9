"""Promises 1 to 4 with workers on several hosts that are killed, stopped and cut off at random.

TRIALS=100 python -m pytest --catalog both tests/hosts/test_chaos.py
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import make_url

from pypimirror.download.http import opening
from tests.corpus.build import make_wheel
from tests.crash.harness import served
from tests.databases import Databases
from tests.hosts.network import Host
from tests.hosts.server import small_sizes
from tests.hosts.trial import KINDS, Fault, Trial, Worker, faults
from tests.mirror import Mirror, offer, offer_sdist
from tests.simulator import Simulator

#: Trials with three hosts that `make test-thorough` does.
TRIALS = int(os.environ.get("TRIALS", "10"))

#: Seconds without a heartbeat until others take over.
LIFETIME = 0.6

PROJECTS = 8
DOWNLOAD = {"timeout": 1, "tries": 1}


class Site:
    """An upstream, hosts, and the mirror that they make of it when nothing happens to them."""

    def __init__(
        self, simulator: Simulator, databases: Databases, base: Path, *, isolated: bool = True
    ) -> None:
        self.simulator, self.databases, self.base = simulator, databases, base
        for number in range(PROJECTS):
            offer(simulator, f"project-{number}", "1.0", *(["2.0"] if number % 3 == 1 else []))
        offer_sdist(simulator, "project-1", "1.0")
        for name in ("large-1", "large-2"):  # they come in several messages
            simulator.add_file(name, *make_wheel(name, "1.0", padding=400_000), core_metadata=True)
        port = make_url(databases.server).port
        assert port is not None
        ports = {"upstream": simulator.server.port, "catalog": port}
        self.hosts = [Host(f"host-{n}", ports, isolated=isolated) for n in range(3)]
        self.workers = [Worker(host, LIFETIME) for host in self.hosts]
        self.happened: Counter[str] = Counter()
        self.usual: dict[str, int] = {}
        self.expected: dict[str, bytes] = {}
        for warm in (True, False):  # the first one compiles statements, and takes long
            self.expected = {}
            self.usual = self.trial(f"whole-{warm}", 3, [])

    @property
    def is_isolated(self) -> bool:
        return self.hosts[0].is_isolated

    def random(self, seed: int, hosts: int) -> None:
        """Do a trial with faults that the seed chooses."""
        kinds = KINDS if self.is_isolated else KINDS[:2]
        happens = faults(Random(seed), hosts, self.usual, kinds)
        print(f"seed {seed}: {happens}", flush=True)
        self.trial(f"trial-{seed}", hosts, happens)

    def trial(self, name: str, hosts: int, happens: list[Fault]) -> dict[str, int]:
        """Do a trial; return the messages of an average host, by server."""
        url = self.databases.migrated()
        mirror = Mirror(
            self.base / name, self.simulator, mirror={"catalog": url}, download=DOWNLOAD
        )
        trial = Trial(mirror, self.simulator, self.workers[:hosts], happens)
        try:
            trial.run()
        finally:
            trial.let_end()
        self.expected = self.expected or served(mirror)
        trial.resume(self.expected)
        self.happened.update(fault.kind for fault in trial.happened)
        self.databases.take_back({url})
        shutil.rmtree(mirror.base)
        seen: Counter[str] = Counter()
        for (_, server), number in trial.seen.items():
            seen[server] += number
        return {server: number // hosts for server, number in seen.items()}

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        for host in self.hosts:
            host.close()


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        small_sizes(patch.setattr)
        patch.setattr(opening, "make_tls_context", cache(opening.make_tls_context))
        yield


@pytest.fixture(scope="module")
def site(server_databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Simulator() as simulator:
        made = Site(simulator, server_databases, tmp_path_factory.mktemp("hosts"))
        yield made
        made.close()


def test_two_hosts(site: Site) -> None:
    for seed in range(3):
        site.random(seed, 2)


@pytest.mark.thorough
def test_two_hosts_that_share_a_network(
    server_databases: Databases, tmp_path: Path, simulator: Simulator
) -> None:
    """Where the system allows no namespaces, processes are killed and stopped."""
    site = Site(simulator, server_databases, tmp_path, isolated=False)
    for seed in range(200, 203):
        site.random(seed, 2)
    site.close()


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.timeout(100_000)
def test_three_hosts(site: Site) -> None:
    for seed in range(300, 300 + TRIALS):
        site.random(seed, 3)
    print(f"{TRIALS} trials: {dict(site.happened)}")
    assert sum(site.happened.values()) >= TRIALS // 2
