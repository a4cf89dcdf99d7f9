"""Promises 1 to 4 with a coordinator and workers on several hosts.

They are killed, stopped, and cut off from upstream, catalog and storage at random, in a first sync
and in one that follows a change of the upstream.

TRIALS=100 python -m pytest --catalog both tests/hosts/test_chaos.py
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest

from pypimirror.download.http import opening
from tests import buckets
from tests.databases import Databases
from tests.hosts.server import small_sizes
from tests.hosts.site import Site
from tests.simulator import Simulator

#: Trials with three hosts, two thirds of them with a directory, one third with a bucket.
TRIALS = int(os.environ.get("TRIALS", "100"))


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        small_sizes(patch.setattr)
        patch.setattr(opening, "make_tls_context", cache(opening.make_tls_context))
        for name, value in buckets.ENVIRONMENT.items():
            patch.setenv(name, value)
        yield


def test_two_hosts(server_databases: Databases, tmp_path: Path, simulator: Simulator) -> None:
    with closing(Site(simulator, server_databases, tmp_path, 2)) as site:
        for seed in range(2):
            site.random(seed)


@pytest.mark.thorough
def test_two_hosts_that_share_a_network(
    server_databases: Databases, tmp_path: Path, simulator: Simulator
) -> None:
    """Where the system allows no namespaces, processes are killed and stopped."""
    with closing(Site(simulator, server_databases, tmp_path, 2, isolated=False)) as site:
        for seed in range(200, 202):
            site.random(seed)


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.timeout(100_000)
def test_three_hosts(server_databases: Databases, tmp_path: Path, simulator: Simulator) -> None:
    with closing(Site(simulator, server_databases, tmp_path, 3)) as site:
        try_(site, range(300, 300 + TRIALS - TRIALS // 3))


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.timeout(100_000)
def test_three_hosts_and_a_bucket(
    server_databases: Databases, tmp_path: Path, simulator: Simulator, seaweed: buckets.Server
) -> None:
    with closing(Site(simulator, server_databases, tmp_path, 3, bucket=seaweed)) as site:
        if not site.is_isolated:
            pytest.skip("this system lets no test make a network namespace")
        try_(site, range(400, 400 + TRIALS // 3))


def try_(site: Site, seeds: range) -> None:
    for seed in seeds:
        site.random(seed)
    print(f"{len(seeds)} trials: {dict(site.happened)}")
    assert sum(site.happened.values()) >= len(seeds) // 2
