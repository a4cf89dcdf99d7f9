"""The server runs the app in a process of its own, and ends as it should."""

from __future__ import annotations

import errno
import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import pytest

from tests.serve.tree import add_project, add_root_index, wheel

BIG = "/packages/big/big-1.0.tar.gz"
BIG_SIZE = 64 * 1024 * 1024  # more than the socket buffers between two processes hold


@dataclass
class Server:
    process: subprocess.Popen[str]
    line: str
    url: str
    host: str
    port: int

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=30)

    def get(self, path: str) -> tuple[int, bytes]:
        connection = self.connect()
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, body

    def refuses_connections(self) -> bool:
        try:
            socket.create_connection((self.host, self.port), timeout=30).close()
        except ConnectionError:
            return True
        return False


PROGRAM = ("-m", "pypimirror.serve.server")
IMPATIENT = """
import sys
import pypimirror.serve.server as s
from pypimirror.serve import handlers
handlers.STALLED = 0.2
sys.exit(s.main())
"""


def start(*arguments: str, program: tuple[str, ...] = PROGRAM) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", *program, *arguments]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)


@contextmanager
def serving(
    root: Path, *options: str, program: tuple[str, ...] = PROGRAM, where: str = "--directory"
) -> Iterator[Server]:
    process = start(where, str(root), "--port", "0", *options, program=program)
    try:
        line = read_line(process.stdout)
        url = line.rstrip("\n").rpartition(" ")[2]
        parts = urlsplit(url)
        yield Server(process, line, url, parts.hostname or "", parts.port or 0)
    finally:
        process.kill()
        process.communicate()


def read_line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline()


@pytest.fixture(scope="module")
def big_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mirror")
    add_project(root, "six", wheel("six", "1.16.0"))
    add_root_index(root, "six")
    (root / BIG[1:]).parent.mkdir()
    with (root / BIG[1:]).open("wb") as file:
        file.truncate(BIG_SIZE)
    return root


@pytest.fixture(scope="module")
def server(big_root: Path) -> Iterator[Server]:
    with serving(big_root) as running:
        yield running


def test_it_says_where_it_serves_and_answers_at_once(server: Server, big_root: Path) -> None:
    assert server.port > 0
    assert server.line == f"Serving {big_root} at http://127.0.0.1:{server.port}/\n"
    assert server.get("/simple/six/")[0] == 200
    assert server.get("/nothing")[0] == 404


def test_a_connection_serves_many_requests(server: Server) -> None:
    connection = server.connect()
    for path, status in [("/simple/", 200), ("/simple/Six", 301), ("/x", 404), (BIG, 200)] * 2:
        connection.request("HEAD", path)
        response = connection.getresponse()
        assert (response.status, response.read()) == (status, b"")
    connection.close()


def test_large_files_go_to_many_at_once(server: Server) -> None:
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(server.get, [BIG] * 4))
    assert all(status == 200 and len(body) == BIG_SIZE for status, body in answers)


def test_a_reader_that_stands_still_holds_up_nobody(server: Server) -> None:
    still = [server.connect() for _ in range(20)]
    for connection in still:
        connection.request("GET", BIG)
    assert server.get("/simple/six/")[0] == 200
    for connection in still:
        connection.close()
    assert server.get("/simple/six/")[0] == 200


def test_a_connection_that_stalls_is_closed_without_noise(big_root: Path) -> None:
    with serving(big_root, program=("-c", IMPATIENT)) as running:
        beginnings = ["", "GET /simple/ HT", "GET /simple/ HTTP/1.1\r\nHost: a\r\nAcc"]
        for beginning in beginnings:
            with socket.create_connection((running.host, running.port), timeout=30) as raw:
                raw.sendall(beginning.encode())
                while raw.recv(1000):
                    pass
        with socket.create_connection((running.host, running.port), timeout=30) as raw:
            raw.sendall(f"GET {BIG} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            assert raw.recv(9) == b"HTTP/1.1 "
            running.process.send_signal(signal.SIGTERM)  # ends as soon as this one was given up
            _, error = running.process.communicate(timeout=4)
        assert running.process.returncode == 0
        assert "Traceback" not in error


def test_a_path_that_climbs_on_the_wire_is_refused(server: Server) -> None:
    for path in ("/packages/../../etc/passwd", "/simple/%2e%2e/%2e%2e/etc/passwd"):
        with socket.create_connection((server.host, server.port), timeout=30) as raw:
            raw.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            assert raw.recv(100).startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_when_nothing_runs(big_root: Path, number: signal.Signals) -> None:
    with serving(big_root) as running:
        idle = running.connect()  # a connection kept open must not delay the end
        idle.request("GET", "/simple/six/")
        idle.getresponse().read()
        running.process.send_signal(number)
        out, error = running.process.communicate(timeout=4)
        assert (running.process.returncode, out) == (0, "")
        assert "Traceback" not in error
        assert f"pip install --index-url {running.url}simple/" in error
        idle.close()


def test_a_signal_lets_a_running_answer_finish(big_root: Path) -> None:
    with serving(big_root) as running:
        connection = running.connect()
        connection.request("GET", BIG)
        response = connection.getresponse()
        running.process.send_signal(signal.SIGTERM)
        while not running.refuses_connections():
            pass
        assert len(response.read()) == BIG_SIZE
        assert running.process.wait(timeout=30) == 0


@pytest.mark.thorough
@pytest.mark.slow
def test_an_answer_that_nobody_reads_does_not_hold_up_the_end(big_root: Path) -> None:
    with serving(big_root) as running:
        connection = running.connect()
        connection.request("GET", BIG)
        connection.getresponse()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(timeout=30) == 0


def test_a_port_that_is_taken_is_said_with_the_way_out(server: Server, big_root: Path) -> None:
    process = start("--directory", str(big_root), "--port", str(server.port))
    out, error = process.communicate(timeout=30)
    assert (process.returncode, out) == (3, "")
    where = f"Cannot listen on 127.0.0.1 port {server.port}"
    assert error.startswith(f"Error: {where}: {os.strerror(errno.EADDRINUSE)}. Choose another ")
    assert "--port 0" in error
    assert error.count("\n") == 1


def test_a_directory_that_is_not_there_is_wrong_use(tmp_path: Path) -> None:
    process = start("--directory", str(tmp_path / "absent"))
    out, error = process.communicate(timeout=30)
    assert (process.returncode, out, error.count("\n")) == (2, "", 1)
    assert "is not a directory" in error


def test_requests_are_logged_when_asked_for(big_root: Path) -> None:
    with serving(big_root, "-v") as running:
        running.get("/simple/six/")
        running.process.send_signal(signal.SIGTERM)
        _, error = running.process.communicate(timeout=30)
        assert '"GET /simple/six/ HTTP/1.1" 200' in error
