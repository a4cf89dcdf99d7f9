"""No client can use up the server's descriptors, nor its time, by doing nothing."""

from __future__ import annotations

import contextlib
import resource
import select
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from pypimirror.serve import connections
from pypimirror.serve.connections import Connections, places
from pypimirror.system.machine import allow_descriptors
from tests.serve.test_server import BIG, Server, big_root, serving  # noqa: F401

#: Few descriptors, of which a shell gives fewer yet.
SOFT, HARD = 64, 256
PLACES = (HARD - connections.RESERVE) // 2
FEW = f"""
import resource, sys
import pypimirror.serve.server as s
resource.setrlimit(resource.RLIMIT_NOFILE, ({SOFT}, {HARD}))
sys.exit(s.main())
"""
HASTY = """
import sys
import pypimirror.serve.server as s
from pypimirror.serve import handlers
handlers.HEAD = 0.5
sys.exit(s.main())
"""


@pytest.fixture(scope="module")
def few(big_root: Path) -> Iterator[Server]:  # noqa: F811
    with serving(big_root, program=("-c", FEW)) as running:
        yield running


@contextmanager
def clients(server: Server, number: int, said: bytes = b"") -> Iterator[list[socket.socket]]:
    """So many connections, that said something and wait."""
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(number):
            client = socket.create_connection((server.host, server.port), timeout=30)
            opened.append(stack.enter_context(client))
            with contextlib.suppress(ConnectionError):  # it had to go at once
                client.sendall(said)
        yield opened


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET /simple/ HTTP/1.1\r\nHost: a\r\nAcc", id="half a head"),
        pytest.param(b"GET /simple/six/ HTTP/1.1\r\nHost: a\r\n\r\n", id="then idle"),
        pytest.param(f"GET {BIG} HTTP/1.1\r\nHost: a\r\n\r\n".encode(), id="and reads nothing"),
    ],
)
def test_connections_without_end_hold_up_nobody(few: Server, said: bytes) -> None:
    with clients(few, HARD, said):
        assert few.get("/simple/six/")[0] == 200
        with ThreadPoolExecutor(10) as threads:
            assert {status for status, _ in threads.map(few.get, ["/simple/six/"] * 30)} == {200}
    assert few.get("/simple/six/")[0] == 200


def test_an_answer_always_finds_a_descriptor(few: Server) -> None:
    """Idle ones take all places; those who come then all ask for a file, and hold it open."""
    with clients(few, PLACES), clients(few, PLACES) as asking:
        for client in asking:
            client.sendall(f"GET {BIG} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        for client in asking:
            assert client.recv(12) == b"HTTP/1.1 200"


def test_a_head_that_comes_a_byte_at_a_time_has_an_end(big_root: Path) -> None:  # noqa: F811
    with (
        serving(big_root, program=("-c", HASTY)) as running,
        clients(running, 1, b"GET / HTTP/1.1\r\nX: ") as (slow,),
    ):
        with contextlib.suppress(ConnectionError):
            while not select.select([slow], [], [], 0.02)[0]:
                slow.sendall(b"a")
            assert slow.recv(100) == b""
        assert running.get("/simple/six/")[0] == 200
        running.process.terminate()
        assert "Traceback" not in running.process.communicate(timeout=30)[1]


@pytest.mark.parametrize("length", ["Content-Length: 1000000000", "Transfer-Encoding: chunked"])
def test_what_is_behind_a_head_is_not_waited_for(few: Server, length: str) -> None:
    said = f"POST /simple/ HTTP/1.1\r\nHost: a\r\n{length}\r\n\r\n".encode()
    with clients(few, 1, said) as (client,):
        answer = b"".join(iter(lambda: client.recv(1000), b""))
        assert answer.startswith(b"HTTP/1.1 405 ")


@pytest.mark.parametrize(
    "line",
    [
        "Content-Length: 0\r\nContent-Length: 30",
        "Content-Length: +0",
        "Transfer-Encoding : chunked",
        "No header at all",
    ],
)
def test_what_a_proxy_may_take_for_a_body_is_no_request(few: Server, line: str) -> None:
    said = f"GET /simple/ HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n"
    with clients(few, 1, (said + "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").encode()) as (it,):
        answer = b"".join(iter(lambda: it.recv(1000), b""))
    assert answer.count(b"HTTP/1.1 ") == 1


def test_the_soft_limit_is_raised_as_far_as_the_hard_one_allows() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = min(200, before[1])
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (low, before[1]))
        assert allow_descriptors(low - 1) == low
        assert allow_descriptors(low + 10) == low + 10
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (low + 10, before[1])
        assert 1 <= places() <= connections.MOST
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(connections, "time", made := Clock())
    return made


@contextmanager
def pairs(number: int) -> Iterator[tuple[list[socket.socket], list[socket.socket]]]:
    with contextlib.ExitStack() as stack:
        made = [socket.socketpair() for _ in range(number)]
        for both in made:
            for end in both:
                end.setblocking(False)
                stack.enter_context(end)
        yield [ours for ours, _ in made], [theirs for _, theirs in made]


def gone(clients: list[socket.socket]) -> list[int]:
    """Which of them were told to go."""

    def was_told(client: socket.socket) -> bool:
        try:
            return client.recv(1) == b""
        except BlockingIOError:
            return False

    return [n for n, client in enumerate(clients) if was_told(client)]


def test_who_waits_longest_goes_first_and_who_is_sent_to_last(clock: Clock) -> None:
    kept = Connections(3)
    with pairs(7) as (ours, theirs):
        kept.moves(ours[0])  # an answer that stands still
        kept.waits(ours[1])
        kept.waits(ours[2])
        clock.now += 2
        kept.waits(ours[3])
        assert gone(theirs) == [1]
        kept.moves(ours[2])
        kept.waits(ours[4])  # nobody waits for long
        assert gone(theirs) == [0, 1]
        kept.moves(ours[3])
        clock.now += 0.5
        kept.moves(ours[2])
        clock.now += 0.8
        kept.moves(ours[4])
        kept.waits(ours[5])
        assert gone(theirs) == [0, 1, 3]
        clock.now += 0.1
        kept.waits(ours[6])  # nobody has done nothing for long: not who came last
        assert gone(theirs) == [0, 1, 2, 3]
        kept.ended(ours[4])
        kept.waits(ours[0])
        assert gone(theirs) == [0, 1, 2, 3]
