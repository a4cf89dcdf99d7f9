"""Promises 1 to 4 with a coordinator and workers on several hosts.

They are killed, stopped, and cut off from upstream, catalog and storage at random, in a first sync
and in one that follows a change of the upstream.

TRIALS=100 python -m pytest --catalog both tests/hosts/test_chaos.py
"""

from __future__ import annotations

import os
from collections.abc import Iterator
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


@pytest.fixture(scope="module")
def site(server_databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Simulator() as simulator:
        made = Site(simulator, server_databases, tmp_path_factory.mktemp("hosts"))
        yield made
        made.close()


@pytest.fixture
def site_with_bucket(
    server_databases: Databases, tmp_path: Path, simulator: Simulator, seaweed: buckets.Server
) -> Iterator[Site]:
    made = Site(simulator, server_databases, tmp_path, bucket=seaweed)
    if not made.is_isolated:
        made.close()
        pytest.skip("this system lets no test make a network namespace")
    yield made
    made.close()


def test_two_hosts(site: Site) -> None:
    for seed in range(2):
        site.random(seed, 2)


@pytest.mark.thorough
def test_two_hosts_that_share_a_network(
    server_databases: Databases, tmp_path: Path, simulator: Simulator
) -> None:
    """Where the system allows no namespaces, processes are killed and stopped."""
    site = Site(simulator, server_databases, tmp_path, isolated=False)
    for seed in range(200, 202):
        site.random(seed, 2)
    site.close()


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.timeout(100_000)
def test_three_hosts(site: Site) -> None:
    trials = TRIALS - TRIALS // 3
    for seed in range(300, 300 + trials):
        site.random(seed, 3)
    print(f"{trials} trials: {dict(site.happened)}")
    assert sum(site.happened.values()) >= trials // 2


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.timeout(100_000)
def test_three_hosts_and_a_bucket(site_with_bucket: Site) -> None:
    trials, site = TRIALS // 3, site_with_bucket
    for seed in range(400, 400 + trials):
        site.random(seed, 3)
    print(f"{trials} trials: {dict(site.happened)}")
    assert sum(site.happened.values()) >= trials // 2
