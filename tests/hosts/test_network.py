"""The network of the hosts itself: what it isolates, and what its faults do."""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.hosts.network import Host, State
from tests.simulator import Simulator

ASK = """
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=float(sys.argv[2])).status)
"""


@pytest.fixture
def host(simulator: Simulator) -> Iterator[Host]:
    made = Host("one", {"upstream": simulator.server.port})
    if not made.is_isolated:
        pytest.skip("this system lets no test make a network namespace")
    yield made
    made.close()


def ask(host: Host, url: str, timeout: float = 30) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", ASK, url, str(timeout)],
        preexec_fn=host.enter,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip(), (done.stderr.splitlines() or [""])[-1]


def test_a_host_reaches_its_servers_and_nothing_else(host: Host, simulator: Simulator) -> None:
    seen: list[int] = []
    host.links["upstream"].watch = lambda: seen.append(1)
    assert ask(host, simulator.url) == ("200", "")
    assert len(seen) >= 2  # a request and an answer
    with Simulator() as other:
        assert "refused" in ask(host, other.url)[1]
        assert other.connections == 0


def test_its_faults_are_of_the_network_and_can_be_mended(host: Host, simulator: Simulator) -> None:
    host.set(State.CUT, "upstream")
    assert "reset" in ask(host, simulator.url)[1].lower()
    host.set(State.OPEN)
    assert ask(host, simulator.url) == ("200", "")
    host.set(State.SILENT)
    assert "timed out" in ask(host, simulator.url, 0.2)[1]
    host.set(State.OPEN)
    assert ask(host, simulator.url) == ("200", "")


def test_this_process_stays_where_it_is(host: Host, simulator: Simulator) -> None:
    answers: list[int] = []

    def look() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", simulator.server.port)
        connection.request("GET", "/simple/")
        answers.append(connection.getresponse().status)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert answers == [200]
    assert simulator.connections == 1
