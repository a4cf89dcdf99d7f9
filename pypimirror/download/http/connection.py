"""One HTTP/1.1 connection on a gevent socket: send a request, and read the head of the answer.

`opening` opens connections, `body` reads bodies, and `transport` keeps connections and replaces
broken ones. Each failure is a `FetchError`.

Limits: the head of an answer has at most `MAX_HEAD` bytes and `MAX_HEADERS` lines, and must arrive
within one time-out. So a flood of headers or a slow drip ends soon.
"""

from __future__ import annotations

import re
import select
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import httptools
from gevent import socket
from gevent.monkey import get_original

from pypimirror.domain.addresses import Proxy
from pypimirror.domain.model import Reason
from pypimirror.download.failure import Again, FetchError, bad_response
from pypimirror.download.http.hosts import Origin

MAX_HEAD = 64 << 10  #: bytes
MAX_HEADERS = 256
MAX_LENGTH_DIGITS = 18
MAX_INTERIM = 8  #: answers of 1xx before the real one
_BEGINNING = b"HTTP/1."
READ_SIZE = 64 << 10  #: bytes to read at once while the size of the answer is unknown

#: A head as nearly every server sends it. httptools reads all others, and takes six times as long.
_USUAL = re.compile(
    r"HTTP/1\.1 ([1-5][0-9]{2}) ([ -~]*)\r\n((?:[A-Za-z0-9-]+: [!-~](?:[ -~]*[!-~])?\r\n)+)\r\n"
)
_FIELD = re.compile(r"([A-Za-z0-9-]+): ([ -~]*)\r\n")

#: The system's own `poll`. It is asked without waiting, and gevent's is too expensive for that.
_poll = get_original("select", "poll")


class Line(NamedTuple):
    """The purpose of a connection, which is used for nothing else."""

    origin: Origin
    public_only: bool = False  #: connect to addresses of the public internet only
    proxy: Proxy | None = None
    ca_file: str = ""  #: as `Remote` has it
    #: The origin may also be asked at the private address of this host; see `opening`.
    gateway: Origin | None = None

    @property
    def is_asked_of_proxy(self) -> bool:
        """Whether the request goes to the proxy itself, and not through it to the upstream."""
        proxy = self.proxy
        return (
            proxy is not None and proxy.kind in ("http", "https") and self.origin.scheme == "http"
        )

    @property
    def needs_tls(self) -> bool:
        """Whether the connection, or that to the proxy, is over TLS."""
        proxy = self.proxy
        return self.origin.scheme == "https" or (proxy is not None and proxy.kind == "https")


class Headers(Mapping[str, str]):
    """The headers of an answer. Names have any case; values of equal names are joined by commas."""

    __slots__ = ("_values",)

    def __init__(self, fields: Iterable[tuple[str, str]]) -> None:
        values: dict[str, str] = {}  # by the name in lower case
        for name, value in fields:
            key = name.lower()
            values[key] = f"{values[key]}, {value}" if key in values else value
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a header, or `default`."""
        return self._values.get(name.lower(), default)


class Head(NamedTuple):
    """The status line and headers of an answer."""

    status: int
    reason: str
    version: str
    headers: Headers


class _HeadReader:
    """Collects what httptools finds in a head, through callbacks."""

    __slots__ = ("headers", "reason")

    def __init__(self) -> None:
        self.reason = b""
        self.headers: list[tuple[str, str]] = []

    def on_status(self, status: bytes) -> None:
        self.reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode("latin-1"), value.strip(b" \t").decode("latin-1")))


class HttpConnection:
    """A connection for a line, used for one request at a time."""

    __slots__ = ("_poll", "buffer", "line", "origin", "ragged", "sock", "timeout")

    def __init__(self, sock: socket.socket, line: Line, timeout: float) -> None:
        self.sock = sock
        self.line = line
        self.origin = line.origin
        self.timeout = timeout
        self.buffer = b""  #: bytes received and not yet used
        self._poll: select.poll | None = None
        if not line.needs_tls:
            self._poll = _poll()
            self._poll.register(sock.fileno(), select.POLLIN | select.POLLHUP)
        self.ragged = False  #: TLS ended without its signed end, so somebody may have cut it

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()

    def is_idle(self) -> bool:
        """Whether the connection is open and no unasked bytes have come in."""
        if self.buffer:
            return False
        if self._poll is not None:
            return not self._poll.poll(0)
        # Over TLS, bytes may come in that are no data, such as session tickets.
        self.sock.settimeout(0.0)
        try:
            self.sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def send(self, data: bytes) -> None:
        """Send a request."""
        self.sock.settimeout(self.timeout)
        try:
            sent = self.sock.send(data)  # usually sends all, at half of the cost
            if sent < len(data):
                self.sock.sendall(data[sent:])
        except OSError as error:
            raise broken(self.origin, error) from error

    def receive(self, size: int, seconds: float) -> bytes:
        """Return up to `size` bytes, b"" at the end; waits for at most `seconds`."""
        try:
            try:
                self.sock.settimeout(seconds)
                return self.sock.recv(size)
            except TimeoutError:
                # This process may have been busy in the meantime, and the bytes may be there.
                self.sock.settimeout(0.0)
                return self.sock.recv(size)
        except OSError as error:
            return self._ended(error)

    def receive_into(self, buffer: memoryview, seconds: float) -> int:
        """Fill `buffer` as far as bytes are there, 0 at the end; waits for at most `seconds`."""
        try:
            try:
                self.sock.settimeout(seconds)
                return self.sock.recv_into(buffer)
            except TimeoutError:
                self.sock.settimeout(0.0)
                return self.sock.recv_into(buffer)
        except OSError as error:
            return len(self._ended(error))

    def _ended(self, error: OSError) -> bytes:
        if is_cut(error):
            self.ragged = True
            return b""
        raise broken(self.origin, error) from error

    def read_head(self) -> Head:
        """Read the head of the next answer. Bytes of the body that came with it are in `buffer`."""
        deadline = time.monotonic() + self.timeout
        for _ in range(MAX_INTERIM):
            raw = self._read_raw_head(deadline)
            head = parse_head(raw, self.origin)
            if head.status >= 200:
                return head
            if head.status == 101:
                break
        raise bad_response(f"{self.origin} answered with nothing but interim answers.")

    def _read_raw_head(self, deadline: float) -> bytes:
        data = self.buffer
        self.buffer = b""
        while (end := data.find(b"\r\n\r\n", 0, MAX_HEAD)) < 0:
            if not data.startswith(_BEGINNING[: len(data)]):
                raise bad_response(f"{self.origin} does not speak HTTP/1.1: {data[:40]!r}.")
            if len(data) >= MAX_HEAD:
                raise bad_response(f"{self.origin} sent headers of more than {MAX_HEAD} bytes.")
            more = self.receive(READ_SIZE, max(0.001, deadline - time.monotonic()))
            if not more:
                raise FetchError(
                    Reason.BAD_RESPONSE if data else Reason.CONNECTION,
                    f"{self.origin} closed the connection "
                    f"{'within' if data else 'without'} an answer.",
                    again=Again.ALWAYS,
                )
            data += more
        self.buffer = data[end + 4 :]
        return data[: end + 4]


def is_cut(error: OSError) -> bool:
    """Whether TLS ended without its signed end. Not every Python has an error class for it."""
    return isinstance(error, ssl.SSLEOFError) or (
        isinstance(error, ssl.SSLError) and error.reason == "UNEXPECTED_EOF_WHILE_READING"
    )


def broken(origin: Origin, error: OSError | ValueError) -> FetchError:
    """Translate a system error that ended a connection."""
    if isinstance(error, (TimeoutError, BlockingIOError, ssl.SSLWantReadError)):
        return FetchError(
            Reason.TIMEOUT, f"{origin} sent nothing for too long.", again=Again.ALWAYS
        )
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return FetchError(
        Reason.CONNECTION, f"The connection to {origin} failed: {text}.", again=Again.ALWAYS
    )


def parse_head(raw: bytes, origin: Origin) -> Head:
    """Parse the head of an answer, strictly."""
    return _parse_usual(raw.decode("latin-1")) or _parse_any(raw, origin)


def _parse_usual(head: str) -> Head | None:
    """Parse a usual head; return None for all others.

    A head is usual only if at most one plain header gives the length of the body. httptools knows
    the rules for all others.
    """
    match = _USUAL.fullmatch(head)
    if match is None:
        return None
    status, reason, lines = match.groups()
    fields = _FIELD.findall(lines)
    headers = Headers(fields)
    length = headers.get("content-length", "0")
    if not length.isdigit() or len(length) > MAX_LENGTH_DIGITS:
        return None
    if "transfer-encoding" in headers or len(fields) > MAX_HEADERS:
        return None
    return Head(int(status), reason, "1.1", headers)


def _parse_any(raw: bytes, origin: Origin) -> Head:
    if not raw.startswith(_BEGINNING):
        raise bad_response(f"{origin} does not speak HTTP/1.1: {raw[:40]!r}.")
    reader = _HeadReader()
    parser = httptools.HttpResponseParser(reader)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise bad_response(f"{origin} sent headers that break HTTP: {error}.") from error
    if len(reader.headers) > MAX_HEADERS:
        raise bad_response(f"{origin} sent more than {MAX_HEADERS} headers.")
    status = parser.get_status_code()
    if status < 100:
        raise bad_response(f"{origin} answered with the status {status}.")
    return Head(
        status,
        reader.reason.decode("latin-1"),
        parser.get_http_version(),
        Headers(reader.headers),
    )
