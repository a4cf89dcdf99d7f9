"""What holds for every test: no way out but loopback, no settings from outside, fixed examples."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.corpus import fetch
from tests.environment import isolated
from tests.simulator import Simulator

settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
settings.load_profile("fixed")


class OutsideError(OSError):
    """A test tried to reach something that is not on this machine."""


class Guard:
    """Refuses connections and name look-ups that leave loopback, in this process."""

    def __init__(self) -> None:
        self.on = False
        self.refused: list[str] = []

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook: Python calls it before every such operation, gevent's too."""
        if not self.on or not event.startswith("socket."):
            return
        if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            address = arguments[1]
            if isinstance(address, tuple) and not is_local(str(address[0])):
                self.refuse(f"{event} to {address[0]}")
        elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
            host = arguments[0]
            name = host.decode() if isinstance(host, bytes) else host
            if name and not is_local(name):
                self.refuse(f"look-up of {name}")

    def refuse(self, what: str) -> None:
        """Fail the operation, and the test even if it swallows the error."""
        self.refused.append(what)
        raise OutsideError(f"tests stay on this machine: {what}")


def is_local(host: str) -> bool:
    """Whether a host is this machine, by its looks alone."""
    try:
        address = ipaddress.ip_address(host)
        return address.is_loopback or address.is_unspecified
    except ValueError:
        return host in ("localhost", socket.gethostname())


GUARD = Guard()
sys.addaudithook(GUARD.hook)


def pytest_configure(config: pytest.Config) -> None:
    """Clear the environment before any module under test reads it."""
    home = tempfile.TemporaryDirectory(prefix="prefect-")
    config.add_cleanup(home.cleanup)
    environment = isolated(PREFECT_HOME=home.name)
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture(autouse=True)
def guard() -> Iterator[Guard]:
    """No test reaches beyond loopback, and none that tried passes."""
    GUARD.refused.clear()
    GUARD.on = True
    yield GUARD
    GUARD.on = False
    assert not GUARD.refused, f"this test tried to leave this machine: {GUARD.refused}"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """An upstream, empty."""
    with Simulator() as running:
        yield running


def fetched(directory: Path) -> Path:
    """The directory, or no test: a failure in CI, where the set-up step has to have run."""
    if not fetch.is_fetched(directory):
        message = f"{directory.name} is not fetched: run python -m tests.corpus.fetch"
        if os.environ.get("CI"):
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    return directory


@pytest.fixture(scope="session")
def corpus_directory() -> Path:
    """Real wheels and sdists."""
    return fetched(fetch.CORPUS)


@pytest.fixture(scope="session")
def pip_wheels() -> dict[str, Path]:
    """Wheels of pip, by version; each runs as `python WHEEL/pip …`."""
    directory = fetched(fetch.PIPS)
    return {v: directory / f"pip-{v}-py3-none-any.whl" for v in fetch.PIP_VERSIONS}


@pytest.fixture(scope="session")
def server_environment() -> Path:
    """The environment that `tests.corpus.servers` runs foreign servers from."""
    return fetched(fetch.SERVERS)
