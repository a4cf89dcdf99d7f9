"""Fuzz the reader of answers: any bytes lead to what another reader sees too, or to `FetchError`.

    python -m tests.download.fuzz_answers [DIRECTORY] [options of libFuzzer: -max_total_time=900]

See `tests.fuzzing`. What is driven is the transport itself, on a peer in memory. It must hold that

* nothing but `FetchError` comes out, and nothing waits once the peer has no more to say;
* however the bytes are cut into pieces on their way, the outcome is the same;
* what is accepted, `http.client` reads too: the same status, headers and body, to the same byte;
* a connection is used again only where the answer ended with the last byte that came;
* a proxy's answer leads to a connection or to a `FetchError`, and no byte behind it is taken;
* a peer that never ends is given up within a bound, and so is one that says nothing, at length.
"""

from __future__ import annotations

import gzip
import io
import os
import ssl
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http.client import BadStatusLine, HTTPException, HTTPResponse
from typing import Any

from tests import fuzzing

with fuzzing.instrumented("pypimirror.download"):
    from pypimirror.download import dates
    from pypimirror.download.files import resume
    from pypimirror.download.http import body as bodies
    from pypimirror.download.http import client, connection, content_encoding, transport, tunnel
    from pypimirror.download.http.hosts import parse_url

from pypimirror.domain.addresses import parse_proxy
from pypimirror.domain.model import Reason
from pypimirror.download.failure import FetchError
from pypimirror.download.http.connection import Line

LIMIT = 20_000  #: bytes of a body that are wanted at most
#: Bytes that may be taken from a peer for that: heads, framing, and what is read at once.
BOUND = (connection.MAX_INTERIM + 4) * connection.MAX_HEAD + 20 * LIMIT + bodies.LARGE
ENDLESS = 4 << 20  #: bytes of a peer that never ends

URL = "http://index.test/x"
LINE = Line(parse_url(URL).origin)
ENDS = ("end", "silence", "reset", "cut")


class Peer:
    """A socket that says these bytes in pieces of these sizes, and then ends in its way."""

    def __init__(self, says: bytes, sizes: Iterable[int], end: str = "end") -> None:
        self.says = memoryview(says)
        self.at = 0
        self.sizes = iter(sizes)
        self.end = end
        self.waits = 0.0

    def settimeout(self, seconds: float) -> None:
        self.waits = seconds

    def send(self, data: bytes) -> int:
        return len(data)

    def sendall(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        self.end = "closed"

    def fileno(self) -> int:
        return 0

    def poll(self, _: int) -> bool:
        """Whether something is there to read: as the connection asks its descriptor."""
        return self.at < len(self.says) or self.end != "silence"

    def recv(self, size: int) -> bytes:
        assert self.end != "closed", "read from a closed connection"
        piece = bytes(self.says[self.at : self.at + min(size, next(self.sizes))])
        self.at += len(piece)
        if piece or self.end == "end":
            return piece
        if self.end == "silence":
            raise TimeoutError if self.waits else BlockingIOError
        raise ConnectionResetError if self.end == "reset" else ssl.SSLEOFError

    def recv_into(self, buffer: memoryview) -> int:
        piece = self.recv(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


class OnPeers(transport.Transport):
    """The transport, with a peer in memory in place of each connection."""

    def __init__(self, peers: Iterable[Peer]) -> None:
        super().__init__(timeout=30.0)
        self.peers = iter(peers)
        self._opener: Any = self

    def open(self, *_: Any) -> connection.HttpConnection:
        peer: Any = next(self.peers)
        poll, connection._poll = connection._poll, Silent
        opened = connection.HttpConnection(peer, LINE, self.timeout)
        connection._poll = poll
        opened._poll = peer
        return opened


class Silent:
    def register(self, *_: int) -> None:
        pass


@dataclass(frozen=True)
class Outcome:
    """What became of a request."""

    status: int = 0
    reason: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    error: Reason | None = None
    taken: int = 0  #: bytes taken from the peer
    kept: bool = False  #: the connection waits for another request


def ask(peer: Peer, method: str, read: Callable[[Any], Iterable[Any]]) -> Outcome:
    """Make a request and read the body of its answer."""
    carrier = OnPeers([peer])
    request = transport.Request(parse_url(URL), LINE, (), method)
    try:
        answer = carrier.send(request)
    except FetchError as error:
        assert peer.end == "closed"
        return Outcome(error=error.reason, taken=peer.at)
    body, error = bytearray(), None
    try:
        for piece in read(answer):
            body += piece
            assert len(piece) <= bodies.LARGE
    except FetchError as failure:
        error = failure.reason
    kept = bool(carrier._idle_count)
    answer.raw.close()
    assert kept or peer.end == "closed"
    if kept and peer.poll(0):  # what came in unasked must not answer the next request
        assert carrier._take(LINE) is None
    headers = tuple(answer.headers.items())
    return Outcome(answer.status_code, answer.reason, headers, bytes(body), error, peer.at, kept)


def pieces(answer: Any) -> Iterator[Any]:
    """The body as it crossed the network."""
    while piece := answer.raw.next_piece():
        yield piece


def undone(answer: Any) -> Iterator[Any]:
    """The body with its encoding undone, up to the limit."""
    return content_encoding.decoded(answer.raw, answer.headers.get("Content-Encoding", ""), LIMIT)


def cuts(seed: int) -> Iterator[int]:
    """Sizes of pieces: everything at once, byte by byte, or in between."""
    while True:
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        yield 1 + (seed >> 8) % 40


def whole() -> Iterator[int]:
    while True:
        yield 1 << 30


def bytewise() -> Iterator[int]:
    while True:
        yield 1


def answer(method: str) -> Callable[[bytes], None]:
    """How the peer ends and how its bytes are cut, in a byte; then what it says."""

    def run(data: bytes) -> None:
        if not data:
            return
        end, says = ENDS[data[0] % len(ENDS)], data[1:]
        outcomes = [
            ask(Peer(says, sizes, end), method, pieces)
            for sizes in (whole(), bytewise(), cuts(data[0]))
        ]
        first = outcomes[0]
        for other in outcomes[1:]:
            same = (other.status, other.reason, other.headers, other.error)
            assert same == (first.status, first.reason, first.headers, first.error), outcomes
            assert first.error or first.body == other.body
        for outcome in outcomes:
            if outcome.error is None:
                others_agree(outcome, says, method)

    return run


def others_agree(outcome: Outcome, says: bytes, method: str) -> None:
    """What was accepted, `http.client` reads alike."""
    read = by_http_client(says, method)
    if read is None:
        return
    status, headers, body, end = read
    assert status == outcome.status
    assert body == outcome.body, (body, outcome)
    assert headers == dict(outcome.headers), (headers, outcome.headers)
    if outcome.kept:
        assert end == outcome.taken, (end, outcome)


def by_http_client(says: bytes, method: str) -> tuple[int, dict[str, str], bytes, int] | None:
    """Status, headers and body by the standard library, and where it ended; None: not defined."""
    stream = Unclosed(says)
    for _ in range(connection.MAX_INTERIM + 1):
        response = HTTPResponse(stream, method=method)  # type: ignore[arg-type]
        try:
            response.begin()
        except BadStatusLine as error:  # it splits at what Unicode calls white space, too
            assert any(byte < 0x20 for byte in error.line.rstrip("\r\n").encode("latin-1")), error
            return None
        except HTTPException as error:
            # It has narrower bounds: of lines, and of their number.
            assert "more than" in str(error) or "LineTooLong" in type(error).__name__, error
            return None
        if response.status >= 200:
            break
    headers: dict[str, str] = {}
    for name, value in response.headers.items():
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if method == "HEAD" or response.status in (204, 304):  # it reads chunks all the same
        return response.status, headers, b"", stream.tell()
    try:
        body = response.read()
    except HTTPException as error:
        assert "LineTooLong" in type(error).__name__ or "more than" in str(error), error
        return None
    return response.status, headers, body, stream.tell()


class Unclosed(io.BytesIO):
    """Bytes as a socket that `http.client` can read several answers from."""

    def makefile(self, _: str) -> Unclosed:
        return self

    def close(self) -> None:
        pass


def endless(data: bytes) -> None:
    """Where the end that never comes begins, in a byte; then what the peer says."""
    if len(data) < 2:
        return
    says = data[1:]
    tail = says[-(1 + data[0] % len(says)) :]
    says += tail * ((ENDLESS - len(says)) // len(tail))
    for read in (bounded, undone):
        peer = Peer(says, whole(), "silence")
        outcome = ask(peer, "GET", read)
        assert outcome.taken <= BOUND, outcome.taken
        if read is undone:
            assert len(outcome.body) <= LIMIT


def bounded(answer: Any) -> Iterator[Any]:
    """The body up to the limit, as a file is read."""
    size = 0
    for piece in pieces(answer):
        yield piece
        size += len(piece)
        if size > LIMIT:
            answer.raw.close()
            return


class Pieces:
    """A body in pieces, which came well."""

    excess = False
    delimited = True

    def __init__(self, data: bytes, size: int) -> None:
        self.left = [data[at : at + size] for at in range(0, len(data), size)]

    def next_piece(self) -> bytes:
        return self.left.pop(0) if self.left else b""

    def close(self) -> None:
        self.left = []


def encoded(data: bytes) -> None:
    """The size of pieces in a byte; then a body that says that it is in gzip."""
    if not data:
        return
    found = []
    for size in (1 + data[0], 1, 1 << 16):
        try:
            found.append(b"".join(content_encoding.decoded(Pieces(data[1:], size), "gzip", LIMIT)))
        except FetchError as error:
            found.append(error.reason)
    assert found[0] == found[1] == found[2], found
    if isinstance(found[0], bytes) and data[1:3] == b"\x1f\x8b":
        try:
            assert gzip.decompress(data[1:]) == found[0]
        except (OSError, EOFError, zlib.error):
            # It forgives zeros behind the end, and wants no zlib stream behind one in gzip.
            assert b"\x1f\x8b" not in data[3:]


def headers(data: bytes) -> None:
    """A value for each header that decides something."""
    value = data.decode("latin-1")
    wait = dates.retry_after({"Retry-After": value}, 1_800_000_000.0)
    assert wait is None or wait >= 0
    part = resume.Whole("http://index.test/x", 1000, '"a"')
    if resume.continues(part, 10, {"Content-Range": value, "ETag": '"a"'}, None):
        assert value.strip().lower().startswith("bytes") and "999" in value
    for base in ("http://index.test/a/b", "https://index.test/"):
        try:
            following = client.next_hop(parse_url(base), value)
        except FetchError as error:
            assert error.reason is Reason.REDIRECT
            continue
        assert following.target.startswith("/")
        assert all("!" <= character <= "~" for character in following.url)
        assert parse_url(following.url) == following
        assert not (base.startswith("https:") and following.origin.scheme == "http")


def proxied(data: bytes) -> None:
    """The kind of proxy in a byte; then what it says to being asked for a connection."""
    if not data:
        return
    kind = ("http", "socks5h", "socks5h")[data[0] % 3]
    proxy = parse_proxy(f"{kind}://{'me:s3cret@' if data[0] % 3 == 2 else ''}proxy.test")
    came = []
    for sizes in (whole(), bytewise()):
        peer: Any = Peer(data[1:], sizes)
        try:
            if kind == "http":
                made = connection.HttpConnection.__new__(connection.HttpConnection)
                made.sock, made.line, made.origin = peer, LINE, LINE.origin
                made.timeout, made.buffer, made.ragged = 30.0, b"", False
                tunnel.http_connect(made, proxy, LINE.origin)
            else:
                tunnel.socks_connect(peer, proxy, "index.test", 443)
                assert peer.at <= 2 + 2 + 4 + 1 + 255 + 2  # what is behind it is the upstream's
        except FetchError as error:
            assert "s3cret" not in error.message
            came.append(None)
        else:
            came.append(peer.at)
    if kind != "http":  # which bytes belong to a head shows only when it is there
        assert came[0] == came[1], came


TARGETS = (answer("GET"), answer("HEAD"), endless, encoded, headers, proxied)


def seeds() -> list[bytes]:
    """Inputs to start from."""
    ok = b"HTTP/1.1 200 OK\r\n"
    chunks = ok + b"Transfer-Encoding: chunked\r\n\r\n"
    several = [
        ok + b'Content-Length: 5\r\nETag: "a"\r\n\r\nhello',
        ok + b"Content-Length: 0\r\nConnection: close\r\nA: 1\r\na:  2 \r\n\r\n",
        ok + b"Content-Type: text/html\r\n\r\nuntil the end",
        chunks + b'5\r\nhello\r\n3;ext="1"\r\nabc\r\n0\r\n\r\n',
        chunks + b"A\r\n0123456789\r\n0\r\nTrailer: x\r\nOther: y\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok + b"Content-Length: 2\r\n\r\nok",
        b"HTTP/1.1 100 Continue\r\n\r\n" + chunks + b"0\r\n\r\n",
        b'HTTP/1.1 304 Not Modified\r\nETag: W/"a"\r\nContent-Length: 9\r\n\r\n',
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nold",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nx",
        ok + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        ok + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ok + b"Folded: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 \r\nLocation: /y\r\nContent-Length: 1\r\n\r\n.",
        ok + b"Content-Length: 3\n\nabc\r\n\r\n",
    ]
    packed = gzip.compress(b"hello " * 50, mtime=0)
    nothing = zlib.compressobj(9, zlib.DEFLATED, 31)
    empty = nothing.compress(b"") + nothing.flush(zlib.Z_FULL_FLUSH) * 4
    unpack = ok + b"Content-Encoding: gzip\r\n"
    without_end = [
        (1, b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        (2, b"HTTP/1.1 200 OK\r\nA: b\r\n"),
        (0, ok + b"\r\nx"),
        (5, chunks + b"1\r\na\r\n"),
        (1, chunks + b"1;aa"),
        (len(packed), unpack + b"\r\n" + packed),
        (len(empty), unpack + b"\r\n" + empty),
        (20, unpack + b"Transfer-Encoding: chunked\r\n\r\n" + gzip.compress(b"", mtime=0)),
        (4, chunks + b"0\r\nA: b\r\n"),
    ]
    values = [
        *(b"120", b"Wed, 21 Oct 2026 07:28:00 GMT", b"bytes 10-999/1000"),
        *(
            b"/simple/six/",
            b"//other.test:81/x?y#z",
            b"https://a@b/",
            b"\xc3\xbc/../%2e",
            b"http:x",
        ),
    ]
    return [
        *(bytes([0, number % 256]) + one for number, one in enumerate(several)),
        *(bytes([1, 0]) + one for one in several[:3]),
        *(bytes([2, max(0, back - 1)]) + one for back, one in without_end),
        *(bytes([3, 5]) + one for one in (packed, packed * 2, zlib.compress(b"x"), empty)),
        *(bytes([4]) + one for one in values),
        b"\5\0HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n",
        b"\5\0HTTP/1.1 407 No\r\n\r\n",
        b"\5\1\5\0\5\0\0\1" + bytes(6),
        b"\5\1\5\0\5\0\0\3\4name\0\x50upstream",
        b"\5\2\5\2\1\0\5\0\0\4" + bytes(18),
        b"\5\2\5\2\1\1",
    ]


WORDS = (
    *(
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 ",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 204 x\r\n",
    ),
    *(b"HTTP/1.1 101 x\r\n", b"304", b"206", b"\r\n\r\n", b"\r\n", b"\n", b"\r", b"\n\n", b": "),
    *(b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n"),
    *(b"Content-Encoding: gzip\r\n", b"Connection: upgrade\r\n", b"Upgrade: x\r\n", b"keep-alive"),
    *(
        b"chunked, chunked",
        b"0\r\n\r\n",
        b"0\r\n",
        b"+1",
        b"1_0",
        b"0x1",
        b"ffffffffffffffff",
        b";",
    ),
    *(b"18446744073709551616", b"\r\n 1", b"\0", b"\t", b"\x85", b"\x0b", b"\x1c", b"\xa0", b" :"),
    *(b"\x1f\x8b\x08", b"//", b"http:", b"\\", b"@", b"[::1]", b"%00", b"..", b"GMT", b"-0000"),
)

one_input = fuzzing.targets(*TARGETS, seconds=10.0)


if __name__ == "__main__":
    os.environ.setdefault("NO_PROXY", "*")
    fuzzing.run("answers", one_input, seeds(), words=WORDS)
