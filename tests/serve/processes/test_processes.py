"""Several processes serve one port as one server.

A first process that is stopped (SIGSTOP) shows what the others do alone.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pypimirror.on_demand.messages import Here, Used
from pypimirror.up.processes import children
from tests.metrics.test_exposition import read
from tests.serve.demand.conftest import Serve, root, serve  # noqa: F401
from tests.serve.test_server import BIG, BIG_SIZE, Server, big_root, serving, start  # noqa: F401

PAGE = "/simple/six/"
HASTY = """
import sys
import pypimirror.serve.server as s
from pypimirror.serve.processes import keeping
keeping.FIRST = 0.01
sys.exit(s.main())
"""


@contextmanager
def alone(server: Server, number: int = 2) -> Iterator[None]:
    """Let the other processes serve alone, once so many were started."""
    while len(others(server)) < number:
        pass
    server.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, server.process.pid, os.WSTOPPED | os.WNOWAIT)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


def others(server: Server) -> list[int]:
    """The other processes of a server."""
    found = []
    for pid in children(server.process.pid):
        with contextlib.suppress(OSError):  # it ends in this moment
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            found += [pid] * (b"serve.processes.program" in command)
    return found


def kill_all(server: Server) -> list[int]:
    """Kill the other processes, and wait until there are new ones. Return those that were."""
    before = others(server)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    while len(set(others(server)) - set(before)) < len(before):
        pass
    return before


def answer_of_another(server: Server) -> int:
    """Ask another process for a page, again and again until it answers alone. Return the status.

    As long as it has not been told of the page, it gives the connection to the first process.
    """
    while True:
        with alone(server, 1), contextlib.suppress(TimeoutError):
            connection = http.client.HTTPConnection(server.host, server.port, timeout=0.3)
            with contextlib.closing(connection):
                connection.request("GET", PAGE)
                return connection.getresponse().status


def ask(connection: http.client.HTTPConnection, path: str) -> tuple[int, bytes]:
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.read()


@pytest.fixture
def server(big_root: Path, tmp_path: Path) -> Iterator[Server]:  # noqa: F811
    config = str(tmp_path / "absent.toml")
    given = ("--processes", "3", "--metrics", config)
    with serving(big_root, *given, program=("-c", HASTY)) as running:
        yield running


def test_others_answer_on_the_same_port(server: Server) -> None:
    with alone(server):
        assert server.get(PAGE)[0] == 200
        assert len(server.get(BIG)[1]) == BIG_SIZE


def test_what_they_cannot_answer_goes_to_the_first_process(server: Server) -> None:
    with alone(server):
        connection = server.connect()
        assert ask(connection, PAGE)[0] == 200
        connection.request("GET", "/simple/Six")
    assert connection.getresponse().status == 301


def test_requests_that_come_at_once_are_answered_in_turn(server: Server) -> None:
    paths = [PAGE, "/nothing", PAGE, "/simple/Six", PAGE] * 30
    requests = "".join(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n" for path in paths)
    ending = "GET /half HTTP/1.0\r\n"
    with alone(server):
        connection = socket.create_connection((server.host, server.port), timeout=30)
        connection.sendall((requests + ending).encode())
        received = connection.recv(1)
    with connection:
        connection.sendall(b"\r\n")
        received += b"".join(iter(lambda: connection.recv(1 << 16), b""))
    codes = [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]
    assert codes == [200, 404, 200, 301, 200] * 30 + [404]


def test_answers_of_all_are_counted_and_no_count_falls(server: Server) -> None:
    with alone(server):
        for _ in range(20):
            assert server.get(PAGE)[0] == 200
    assert len(kill_all(server)) == 2
    with alone(server):
        assert server.get(PAGE)[0] == 200
    server.get("/nothing")
    found = read(server.get("/metrics")[1])
    assert found["pypimirror_http_requests_total", "200"] == 21
    assert found["pypimirror_http_requests_total", "404"] == 1


def test_a_process_that_dies_is_told_and_started_again(server: Server) -> None:
    with alone(server):
        assert server.get(PAGE)[0] == 200
    kill_all(server)
    with alone(server):
        assert server.get(PAGE)[0] == 200
    server.process.terminate()
    _, error = server.process.communicate(timeout=30)
    for number in (2, 3):
        assert (
            f"pypimirror: Process {number} of the web server ended with -9. It is started again in"
            " 0.01 s; the other processes serve meanwhile.\n"
        ) in error


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_they_end_with_the_first_process(server: Server, number: signal.Signals) -> None:
    with alone(server):
        idle = server.connect()
        ask(idle, PAGE)
    assert len(others(server)) == 2
    server.process.send_signal(number)
    _, error = server.process.communicate(timeout=10)  # until all have closed it
    assert server.process.returncode == (-9 if number == signal.SIGKILL else 0)
    assert "Traceback" not in error
    assert server.refuses_connections()
    idle.close()


def test_the_end_lets_an_answer_of_another_process_finish(server: Server) -> None:
    with alone(server):
        connection = server.connect()
        connection.request("GET", BIG)
        response = connection.getresponse()
    server.process.terminate()
    while not server.refuses_connections():
        pass
    assert len(response.read()) == BIG_SIZE
    assert server.process.wait(timeout=30) == 0


def test_ctrl_c_at_a_terminal_reaches_only_the_first_process(server: Server) -> None:
    with alone(server):
        server.get(PAGE)
    assert all(os.getpgid(pid) == pid for pid in others(server))


def test_a_port_that_is_taken_is_told_once(server: Server, big_root: Path) -> None:  # noqa: F811
    given = ("--directory", str(big_root), "--port", str(server.port), "--processes", "3")
    process = start(*given)
    out, error = process.communicate(timeout=30)
    assert (process.returncode, out, error.count("\n")) == (3, "", 1)
    assert "Cannot listen" in error


def test_pages_that_are_believed_are_answered_by_all(serve: Serve) -> None:  # noqa: F811
    site = serve("--processes", "2")
    page = site.ask(PAGE)
    site.puppet.say(Here(site.puppet.hears_page().id, seconds=600))
    assert page.getresponse().status == 200
    assert answer_of_another(site.server) == 200
    kill_all(site.server)
    assert answer_of_another(site.server) == 200  # the new one was told, too


def test_a_page_that_is_not_believed_is_asked_for_once(serve: Serve) -> None:  # noqa: F811
    site = serve("--processes", "2")
    with alone(site.server, 1):
        page = site.ask(PAGE)
    site.puppet.say(Here(site.puppet.hears_page().id, seconds=600))
    assert page.getresponse().status == 200


def test_files_that_another_process_sent_are_told_to_the_fetcher(serve: Serve) -> None:  # noqa: F811
    site = serve("--processes", "2")
    with alone(site.server, 1):
        assert site.server.get("/packages/six/six-1.16.0-py3-none-any.whl")[0] == 200
    site.server.process.terminate()
    assert site.puppet.hears() == Used([("six", "six-1.16.0-py3-none-any.whl")])
