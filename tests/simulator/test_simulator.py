"""The simulator is a correct server by default, and has exactly the faults that a test sets."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

from tests import simulator as faults
from tests.corpus.build import make_sdist, make_wheel
from tests.simulator import Fault, IndexFile, Simulator

JSON = "application/vnd.pypi.simple.v1+json"
BODY = bytes(range(256)) * 20


class Got:
    """An answer that was read completely."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        self.body = answer.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def connect(sim: Simulator, timeout: float = 10) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(sim.host, timeout=timeout)


def get(sim: Simulator, where: str | IndexFile, timeout: float = 10, **headers: str) -> Got:
    path = where if isinstance(where, str) else where.quoted_path
    connection = connect(sim, timeout)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET", path, headers=named)
        return Got(connection.getresponse())
    finally:
        connection.close()


@pytest.fixture
def file(simulator: Simulator) -> IndexFile:
    return simulator.add_file("Six", "six-1.0.tar.gz", BODY)


# The index


def test_pages_in_json_and_html(simulator: Simulator) -> None:
    name, wheel = make_wheel("Six", "1.0", requires_python=">=3.8")
    simulator.add_file("Six", name, wheel, yanked="bad <b>", core_metadata=True, provenance=b"{}")
    listed = get(simulator, "/simple/", accept=JSON)
    assert listed.headers["content-type"] == JSON
    assert listed.json["projects"] == [{"name": "Six", "_last-serial": simulator.serial}]
    page = get(simulator, "/simple/six/", accept=f"text/html;q=0.5, {JSON}").json
    (said,) = page["files"]
    assert page["meta"] == {"api-version": "1.4", "_last-serial": simulator.serial}
    assert page["versions"] == ["1.0"]
    assert said["url"] == f"../../packages/six/{name}"
    assert (said["size"], said["yanked"]) == (len(wheel), "bad <b>")
    assert b"Name: Six" in get(simulator, f"/packages/six/{name}.metadata").body
    assert get(simulator, said["provenance"].removeprefix(simulator.root)).body == b"{}"
    simulator.style.html_algorithm = "md5"
    html = get(simulator, "/simple/six/", accept="text/html")
    assert html.headers["content-type"] == "text/html; charset=utf-8"
    assert b"#md5=" in html.body
    assert b'data-yanked="bad &lt;b&gt;"' in html.body


@pytest.mark.parametrize(
    ("formats", "accept", "expected"),
    [
        (("json", "html"), "*/*", JSON),
        (("html", "json"), "*/*", "text/html; charset=utf-8"),
        (("html",), JSON, "text/html; charset=utf-8"),
        (("json",), "text/html", JSON),
        (("json", "html"), "application/vnd.pypi.simple.latest+html", JSON.replace("json", "html")),
    ],
)
def test_content_negotiation(
    simulator: Simulator, file: IndexFile, formats: tuple[str, ...], accept: str, expected: str
) -> None:
    simulator.formats = formats
    assert get(simulator, "/simple/six/", accept=accept).headers["content-type"] == expected


def test_old_api_says_less(simulator: Simulator, file: IndexFile) -> None:
    simulator.api_version, simulator.serials = "1.0", False
    page = get(simulator, "/simple/six/", accept=JSON)
    assert set(page.json) == {"meta", "name", "files"}
    assert "size" not in page.json["files"][0]
    assert "x-pypi-last-serial" not in page.headers


def test_serials_move_as_on_pypi(simulator: Simulator, file: IndexFile) -> None:
    project = simulator.project("six")
    serials = [project.serial]
    file.yank()
    serials.append(project.serial)
    file.replace(b"other")
    serials.append(project.serial)
    project.quarantine()
    serials.append(project.serial)
    assert serials == sorted(set(serials))
    assert get(simulator, "/simple/", accept=JSON).json["projects"] == []
    page = get(simulator, "/simple/six/", accept=JSON).json
    assert (page["project-status"]["status"], page["files"]) == ("quarantined", [])
    project.archive("done")
    assert project.serial == serials[-1]
    simulator.delete_project("six")
    assert simulator.serial == serials[-1] + 1
    assert get(simulator, "/simple/six/").status == 404
    assert get(simulator, file).status == 404


def test_frozen_pages_lag_behind(simulator: Simulator, file: IndexFile) -> None:
    simulator.freeze()
    simulator.add_file("new", *make_sdist("new", "1"))
    simulator.freeze("/simple/new/")
    simulator.add_file("new", *make_sdist("new", "2"))
    assert len(get(simulator, "/simple/", accept=JSON).json["projects"]) == 1
    assert len(get(simulator, "/simple/new/", accept=JSON).json["files"]) == 1
    simulator.thaw()
    assert len(get(simulator, "/simple/", accept=JSON).json["projects"]) == 2
    assert len(get(simulator, "/simple/new/", accept=JSON).json["files"]) == 2


def test_raw_pages_and_redirects(simulator: Simulator) -> None:
    simulator.page("odd", "{", status=200)
    assert get(simulator, "/simple/odd/").body == b"{"
    simulator.redirect("/old/", "/simple/odd/")
    assert get(simulator, "/old/").headers["location"] == "/simple/odd/"
    assert get(simulator, "/simple/Odd.Name").headers["location"] == "/simple/odd-name/"


def test_hostile_file_name(simulator: Simulator) -> None:
    file = simulator.add_file("six", "../../six-1.0.tar.gz", b"bytes")
    page = get(simulator, "/simple/six/", accept=JSON).json
    assert page["files"][0]["url"].endswith("six/..%2F..%2Fsix-1.0.tar.gz")
    assert get(simulator, file).body == b"bytes"


# HTTP


def test_conditions_and_ranges(simulator: Simulator, file: IndexFile) -> None:
    tag = get(simulator, file).headers["etag"]
    assert get(simulator, file, if_none_match=tag).status == 304
    part = get(simulator, file, range="bytes=10-", if_range=tag)
    assert (part.status, part.body) == (206, BODY[10:])
    assert part.headers["content-range"] == f"bytes 10-{len(BODY) - 1}/{len(BODY)}"
    file.replace(b"other")
    assert get(simulator, file, range="bytes=1-", if_range=tag).body == b"other"
    assert get(simulator, file, range="bytes=5-").status == 416
    simulator.ranges = simulator.etags = False
    plain = get(simulator, file, range="bytes=1-")
    assert (plain.status, "etag" in plain.headers) == (200, False)


def test_keep_alive_log_and_counts(simulator: Simulator, file: IndexFile) -> None:
    connection = connect(simulator)
    for method in ("GET", "HEAD", "GET"):
        connection.request(method, file.path)
        assert len(connection.getresponse().read()) == (0 if method == "HEAD" else len(BODY))
    connection.close()
    simulator.wait_requests(file, 3)
    assert (simulator.connections, simulator.peak_connections) == (1, 1)
    assert simulator.downloads("six-1.0.tar.gz") == simulator.count("/packages/*", method="GET")
    assert simulator.bytes_sent(file) == 2 * len(BODY)
    assert {request.status for request in simulator.requests} == {200}


def test_a_thousand_connections(simulator: Simulator, file: IndexFile) -> None:
    hold = simulator.hold(file)
    ask = f"GET {file.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    sockets = [socket.create_connection((simulator.server.host, simulator.server.port))]
    sockets += [socket.create_connection(sockets[0].getpeername()) for _ in range(999)]
    for sock in sockets:
        sock.sendall(ask)
    simulator.wait_for(lambda: simulator.active == 1000)
    hold.release()
    for sock in sockets:
        sock.settimeout(10)
        received = b""
        while not received.endswith(BODY):
            received += sock.recv(1 << 16)
        sock.close()
    assert simulator.peak_connections == simulator.peak_requests == 1000


def test_tls() -> None:
    with Simulator(tls=True) as sim:
        sim.add_file("six", "six-1.0.tar.gz", BODY)
        context = ssl.create_default_context(cafile=sim.ca_file)
        connection = http.client.HTTPSConnection(sim.host, context=context, timeout=10)
        connection.request("GET", "/packages/six/six-1.0.tar.gz")
        assert connection.getresponse().read() == BODY
        connection.close()


# Faults


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.Reset(), ConnectionResetError),
        (faults.Reset(after=10), ConnectionResetError),
        (faults.Hangup(), http.client.RemoteDisconnected),
        (faults.Truncate(at=100), http.client.IncompleteRead),
        (faults.LyingLength(len(BODY) + 1), http.client.IncompleteRead),
        (faults.Chunked(bad=True), http.client.IncompleteRead),
        (faults.Chunked(cut=True), http.client.IncompleteRead),
        (faults.HeaderFlood(), http.client.HTTPException),
        (faults.Raw(), http.client.BadStatusLine),
        (faults.Stall(), TimeoutError),
        (faults.Stall(after=10), TimeoutError),
    ],
    ids=repr,
)
def test_faults_that_break_the_transfer(
    simulator: Simulator, file: IndexFile, fault: Fault, error: type[Exception]
) -> None:
    simulator.fault(file, fault, nth=1)
    with pytest.raises(error):
        get(simulator, file, timeout=0.3)
    assert get(simulator, file).body == BODY


@pytest.mark.parametrize(
    ("fault", "status", "body"),
    [
        (faults.MissingLength(at=7), 206, BODY[10:17]),
        (faults.LyingLength(7), 206, BODY[10:17]),
        (faults.Chunked(), 206, BODY[10:]),
        (faults.Longer(), 206, BODY[10:]),
        (faults.Padded(b"more"), 206, BODY[10:] + b"more"),
        (faults.WrongRange(5), 206, BODY[15:]),
        (faults.WrongRange(5, silent=True), 206, BODY[15:] + b"x" * 5),
        (faults.OtherFile(b"0123456789abc"), 206, b"abc"),
        (faults.IgnoreRange(), 200, BODY),
        (faults.NotModified(), 304, b""),
        (faults.Redirect("file:///etc/passwd"), 302, b""),
        (faults.RedirectLoop(changing=True), 302, b""),
        (faults.Status(429, retry_after=7), 429, b"no"),
        (faults.HtmlError(b"<html>"), 200, b"<html>"),
        (faults.Corrupt(at=0), 206, bytes([BODY[10] ^ 0xFF]) + BODY[11:]),
        (faults.Drip(size=1000, interval=0.001), 206, BODY[10:]),
        (faults.Latency(0.01), 206, BODY[10:]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_faults_that_answer_wrongly(
    simulator: Simulator, file: IndexFile, fault: Fault, status: int, body: bytes
) -> None:
    simulator.fault("/packages/*", fault, times=1)
    broken = get(simulator, file, range="bytes=10-")
    assert (broken.status, broken.body) == (status, body)
    assert get(simulator, file, range="bytes=10-").body == BODY[10:]
    assert simulator.requests[0].faults == (type(fault).__name__,)


def test_encodings(simulator: Simulator, file: IndexFile) -> None:
    simulator.fault(file, faults.Encoded(), nth=1)
    simulator.fault(file, faults.GzipBomb(size=50 << 20), nth=2)
    assert zlib.decompress(get(simulator, file).body, 31) == BODY
    bomb = get(simulator, file)
    assert bomb.headers["content-encoding"] == "gzip"
    assert len(bomb.body) < 1 << 20
    assert len(zlib.decompress(bomb.body, 31)) == 50 << 20


def test_endless_body_ends_with_the_client(simulator: Simulator, file: IndexFile) -> None:
    simulator.fault(file, faults.EndlessChunked())
    connection = connect(simulator)
    connection.request("GET", file.path)
    assert len(connection.getresponse().read(1 << 20)) == 1 << 20
    connection.sock.close() if connection.sock else None
    connection.close()


@pytest.mark.parametrize("on_reuse", [False, True])
def test_idle_connection_is_closed(simulator: Simulator, file: IndexFile, on_reuse: bool) -> None:
    simulator.fault(file, faults.CloseIdle(on_reuse=on_reuse), nth=1)
    with socket.create_connection((simulator.server.host, simulator.server.port)) as sock:
        ask = f"GET {file.path} HTTP/1.1\r\n\r\n".encode()
        sock.sendall(ask)
        received = b""
        while not received.endswith(BODY):
            received += sock.recv(1 << 16)
        if on_reuse:
            sock.sendall(ask)
        assert sock.recv(1) == b""
    assert simulator.count(file) == (2 if on_reuse else 1)


def test_which_requests_a_fault_acts_on(simulator: Simulator) -> None:
    files = [simulator.add_file("p", f"p-{n}.tar.gz", b"x") for n in (1, 2)]
    rule = simulator.fault("/packages/*", faults.Status(503), nth=2, each=True)
    seen = [get(simulator, file).status for file in files * 3]
    assert seen == [200, 200, 503, 503, 200, 200]
    assert rule.hits == 2
    always = simulator.fault(files[0], faults.Status(404))
    assert get(simulator, files[0]).status == get(simulator, files[0]).status == 404
    simulator.heal(always)
    assert get(simulator, files[0]).status == 200


def test_hold_and_release(simulator: Simulator, file: IndexFile) -> None:
    hold = simulator.hold(file, after=10)
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.append(get(simulator, file).body))
    thread.start()
    hold.wait_reached()
    assert (simulator.active, simulator.requests[0].sent, got) == (1, 10, [])
    hold.release()
    thread.join(10)
    assert got == [BODY]


def test_refused_and_back_again(simulator: Simulator, file: IndexFile) -> None:
    with simulator.refusing(), pytest.raises(ConnectionRefusedError):
        get(simulator, file)
    assert get(simulator, file).body == BODY


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can keep a port beside a server")
def test_nobody_else_gets_the_port_of_who_refuses(simulator: Simulator) -> None:
    with simulator.refusing(), socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((simulator.server.host, simulator.server.port))


def test_closing_ends_stalls_and_holds() -> None:
    with Simulator() as sim:
        sim.fault("/a", faults.Stall())
        sim.hold("/b")
        sim.fault("/c", faults.Drip(interval=1000))
        sim.serve("/c", b"xx")
        sockets = [socket.create_connection((sim.server.host, sim.server.port)) for _ in range(3)]
        for sock, path in zip(sockets, "abc", strict=True):
            sock.sendall(f"GET /{path} HTTP/1.1\r\n\r\n".encode())
        sim.wait_for(lambda: sim.active == 3)
        started = time.monotonic()
    assert time.monotonic() - started < 2
    assert not sim.server.open
    for sock in sockets:
        sock.close()


def test_as_a_program(tmp_path: Path) -> None:
    for name, content in (make_wheel("six", "1.0", requires_python=">=3"), make_sdist("six", "2")):
        (tmp_path / name).write_bytes(content)
    command = [sys.executable, "-m", "tests.simulator", "--directory", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        connection = http.client.HTTPConnection(url.split("/")[2])
        connection.request("GET", "/simple/six/", headers={"Accept": JSON})
        files = json.loads(connection.getresponse().read())["files"]
        connection.close()
        process.terminate()
    assert [(f["filename"], f["requires-python"]) for f in files] == [
        ("six-1.0-py3-none-any.whl", ">=3"),
        ("six-2.tar.gz", None),
    ]
