"""A direct answer is the same as the one of the long way, and never an old one."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from werkzeug.test import Client

from pypimirror.serve.app import create_app
from pypimirror.serve.direct import direct as direct_module
from pypimirror.serve.direct.counts import AnswerCounts
from pypimirror.serve.direct.direct import Direct, DirectAnswer, TreeHits
from pypimirror.serve.direct.heads import read_head
from pypimirror.serve.files import Directory
from tests.serve.test_server import Server, serving
from tests.serve.tree import add_project, add_root_index, wheel

WHEEL = "/packages/six/six-1.16.0-py3-none-any.whl"
LONG_AGO = 1_500_000_000
LONG_WAY = (
    "import sys, pypimirror.serve.server as s; s._direct = lambda *_: None; sys.exit(s.main())"
)
JSON = "application/vnd.pypi.simple.v1+json"


def make_root(directory: Path) -> Path:
    add_project(directory, "six", wheel("six", "1.16.0"))
    add_project(directory, "foo-bar", wheel("foo-bar", "1.0", requires=["six"]))
    add_root_index(directory, "foo-bar", "six")
    (directory / "packages/six/empty.txt").touch()
    (directory / "packages/six/six-1.0+local.tar.gz").write_bytes(b"local")
    (directory / "simple/foo-bar/index.html").unlink()
    deep = directory / "packages/ab/cd/deep-1.0.zip"
    deep.parent.mkdir(parents=True)
    deep.write_bytes(b"deep" * 200_000)
    (directory / "packages/six/link.whl").symlink_to("six-1.16.0-py3-none-any.whl")
    (directory / "packages/linked").symlink_to("six")
    (directory / "simple/linked").symlink_to("six")
    os.mkfifo(directory / "packages/six/fifo")
    for path in directory.rglob("*"):
        if path.is_file():
            os.utime(path, (LONG_AGO, LONG_AGO))
    return directory


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """A server, and one that gives no direct answer, of the same tree."""
    root = make_root(tmp_path_factory.mktemp("mirror"))
    with serving(root) as direct, serving(root, program=("-c", LONG_WAY)) as long:
        yield direct, long


Said = tuple[int, list[tuple[str, str]], bytes]


def said(server: Server, *requests: bytes) -> list[Said]:
    """Return what is answered to requests on one connection: status, headers but Date, body."""
    with socket.create_connection((server.host, server.port), timeout=30) as connection:
        connection.sendall(b"".join(requests))
        stream = connection.makefile("rb")
        found = []
        for request in requests:
            response = http.client.HTTPResponse(_Of(stream), method=request.split()[0].decode())
            response.begin()
            headers = sorted(each for each in response.getheaders() if each[0] != "Date")
            assert response.headers["Date"]
            found.append((response.status, headers, response.read()))
        return found


class _Of(socket.socket):
    """One stream for many answers, so that no byte is lost between them."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def makefile(self, *_: object) -> Any:
        return _Open(self._stream)


class _Open:
    def __init__(self, stream: IO[bytes]) -> None:
        self.read, self.readline = stream.read, stream.readline
        self.readinto = stream.readinto

    def close(self) -> None:
        """Leave it open."""

    flush = close


PATHS = [
    *("/simple/", "/simple/six/", "/simple/foo-bar/", "/simple/absent/", "/simple/linked/"),
    *("/simple/six", "/simple/Six/", "/simple/foo--bar/", "/simple/-six/", "/simple/six/?a=b"),
    *("/simple/six/index.html", "/simple//six/", "/simple/../simple/six/", "/simple/%73ix/"),
    *(WHEEL, f"{WHEEL}.metadata", "/packages/six/empty.txt", "/packages/six/", "/packages/six"),
    *("/packages/six/six-1.0+local.tar.gz", "/packages/six/six-1.0%2Blocal.tar.gz"),
    *("/packages/ab/cd/deep-1.0.zip", "/packages/six/link.whl", "/packages/six/fifo"),
    *("/packages/linked/six-1.16.0-py3-none-any.whl", "/packages//six/x", "/packages/six/.hidden"),
    *("/packages/../simple/six/index.html", "/packages/six/%2e%2e/x", "/packages/", "/nothing"),
    f"/packages/six/{'a' * 300}",
]
HEADERS = [
    "",
    f"Accept: {JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01\r\n",
    "Accept: text/html\r\n",
    "Accept: image/png\r\n",
    'If-None-Match: "0a"\r\n',
    "If-None-Match: *\r\n",
    "Range: bytes=1-3\r\n",
    "Connection: close\r\nX-Forwarded-For: 192.0.2.1\r\n",
]


@pytest.mark.parametrize("path", PATHS)
def test_it_is_the_answer_of_the_long_way(both: tuple[Server, Server], path: str) -> None:
    for method in ("GET", "HEAD"):
        for fields in HEADERS:
            request = f"{method} {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode()
            direct, long = (said(server, request) for server in both)
            assert direct == long, request


@pytest.mark.parametrize("path", ["/simple/", "/simple/six/", WHEEL, "/packages/six/empty.txt"])
def test_what_a_client_has_is_not_sent_again(both: tuple[Server, Server], path: str) -> None:
    line = f"GET {path} HTTP/1.1\r\nHost: a\r\n"
    for server in both:
        ((_, fields, _),) = said(server, f"{line}\r\n".encode())
        conditional = f"{line}If-None-Match: {dict(fields)['ETag']}\r\n\r\n".encode()
        direct, long = (said(each, conditional) for each in both)
        assert direct[0][0] == 304
        assert direct == long


def test_a_connection_ends_when_the_client_says_so(both: tuple[Server, Server]) -> None:
    for server in both:
        with socket.create_connection((server.host, server.port), timeout=30) as connection:
            connection.sendall(b"GET /simple/six/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            connection.sendall(b"GET /simple/six/ HTTP/1.1\r\nHost: a\r\n\r\n")
            received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        assert received.count(b"HTTP/1.1 200") == 1


def test_requests_that_come_at_once_are_answered_in_turn(both: tuple[Server, Server]) -> None:
    paths = ["/simple/six/", "/nothing", WHEEL, "/simple/Six/", "/simple/"] * 50
    requests = [f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for path in paths]
    direct, long = (said(server, *requests) for server in both)
    assert [status for status, _, _ in direct] == [200, 404, 200, 301, 200] * 50
    assert direct == long


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path / "mirror")


@pytest.fixture
def direct(root: Path, monkeypatch: pytest.MonkeyPatch) -> Direct:
    monkeypatch.setattr("pypimirror.serve.direct.ready._SETTLED", 0)  # all is kept at once
    tree = Directory(root)
    return Direct(tree, TreeHits(tree), AnswerCounts())


def ask(direct: Direct, path: str, *fields: str) -> DirectAnswer | None:
    lines = [f"GET {path} HTTP/1.1", "Host: a", *fields, "", ""]
    head = read_head("\r\n".join(lines).encode())
    assert head is not None
    return direct.find(head)


def body_of(answer: DirectAnswer | None) -> bytes:
    assert answer is not None
    if answer.file is None:
        return answer.body
    with answer.file as file:
        return file.read()


@pytest.mark.parametrize("small", [True, False])
def test_a_new_page_is_seen_at_once(
    direct: Direct, root: Path, monkeypatch: pytest.MonkeyPatch, *, small: bool
) -> None:
    if not small:
        monkeypatch.setattr(direct_module, "SMALL", 0)
    page = root / "simple/six/index.html"
    for number in range(50):
        new = page.with_name("new")
        new.write_bytes(b"page %03d" % number)  # the same size
        os.utime(new, (LONG_AGO, LONG_AGO))  # and the same time
        new.replace(page)
        for _ in range(2):
            answer = ask(direct, "/simple/six/")
            assert body_of(answer) == b"page %03d" % number
            etag = Client(create_app(root)).head("/simple/six/").headers["ETag"]
            assert answer is not None
            assert f"ETag: {etag}\r\n".encode() in answer.head


def test_a_page_that_changed_in_this_moment_is_not_kept(root: Path) -> None:
    """Another change could follow with the same time stamps."""
    tree = Directory(root)
    direct = Direct(tree, TreeHits(tree), AnswerCounts())
    page = root / "simple/six/index.html"
    for content in (b"one", b"two"):
        page.write_bytes(content)
        os.utime(page, (LONG_AGO, LONG_AGO))
        assert body_of(ask(direct, "/simple/six/")) == content
        assert not direct._kept._answers


def test_what_is_withdrawn_is_gone_at_once(direct: Direct, root: Path) -> None:
    for path in ("/simple/six/", WHEEL):
        body_of(ask(direct, path))
        body_of(ask(direct, path))
    (root / WHEEL[1:]).unlink()
    (root / "simple/six/index.html").unlink()
    assert ask(direct, WHEEL) is None
    assert ask(direct, "/simple/six/", "Accept: text/html") is None


@pytest.mark.parametrize("path", ["simple/six", "packages/six"])
def test_a_directory_that_becomes_a_link_is_not_followed(
    direct: Direct, root: Path, path: str
) -> None:
    asked = "/simple/six/" if path == "simple/six" else WHEEL
    body_of(ask(direct, asked))
    shutil.move(root / path, root / "elsewhere")
    (root / path).symlink_to(root / "elsewhere")
    assert ask(direct, asked) is None


def test_no_file_stays_open(direct: Direct, root: Path) -> None:
    etag = Client(create_app(root)).head(WHEEL).headers["ETag"]
    before = len(os.listdir("/dev/fd"))
    for path in ("/simple/", "/simple/six/", WHEEL, "/packages/six/empty.txt", "/packages/x/y"):
        for fields in ((), (f"If-None-Match: {etag}",)):
            answer = ask(direct, path, *fields)
            if answer is not None and answer.file is not None:
                answer.file.close()
    assert len(os.listdir("/dev/fd")) == before


def test_memory_is_bounded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pypimirror.serve.direct.ready._SETTLED", 0)
    kept = direct_module.Kept(most=10_000)
    tree = Directory(root)
    for number in range(100):
        file = tree.open("simple", "six", "index.html")
        assert file is not None
        with file.handle as handle:
            ready = direct_module.make(file, {"ETag": '"0"'}, handle.read())
            kept.noted(str(number), ready, file)
    found = [number for number in range(100) if kept.get(str(number)) is not None]
    assert 1 <= len(found) <= 6
    assert found == [*range(100 - len(found), 100)]
