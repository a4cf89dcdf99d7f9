"""One HTTP/1.1 connection on a gevent socket: connecting, sending, reading an answer's head.

Bodies are read by `pypimirror.download.body`, pooled and retried by
`pypimirror.download.transport`. Every failure leaves here as a `FetchError`.

Limits: the head of an answer has at most `MAX_HEAD` bytes and `MAX_HEADERS` lines, and arrives
within the time-out as a whole, so that a header flood or a slow drip ends soon.
"""

from __future__ import annotations

import contextlib
import ipaddress
import select
import ssl
import time
from typing import NamedTuple

import gevent
import httptools
from gevent import socket
from gevent.monkey import get_original
from gevent.ssl import SSLContext, SSLSocket

from pypimirror.download.failure import Again, FetchError, bad_response
from pypimirror.download.hosts import Origin, is_public, not_public
from pypimirror.model import Reason

MAX_HEAD = 64 << 10  #: bytes
MAX_HEADERS = 256
MAX_INTERIM = 8  #: answers of 1xx before the real one
_BEGINNING = b"HTTP/1."
READ_SIZE = 64 << 10  #: bytes asked for while the size of what comes is unknown

#: The system's own: it is asked without waiting, which gevent's would make expensive.
_poll = get_original("select", "poll")


class Resolver:
    """Name lookups, kept for `keep` seconds, and never two at once for one name."""

    def __init__(self, keep: float = 30.0) -> None:
        self._keep = keep
        self._known: dict[tuple[str, int], tuple[float, list[str]]] = {}
        self._pending: dict[tuple[str, int], gevent.Greenlet[..., list[str] | OSError]] = {}

    def addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of `host`. Raises `FetchError` (CONNECTION)."""
        with contextlib.suppress(ValueError):
            return [str(ipaddress.ip_address(host))]
        known = self._known.get((host, port))
        if known is not None and known[0] > time.monotonic():
            return known[1]
        lookup = self._pending.get((host, port))
        if lookup is None:
            # A greenlet of its own: it goes on for the others if this one's time is up.
            lookup = self._pending[host, port] = gevent.spawn(self._look_up, host, port)
        found = lookup.get()
        if isinstance(found, OSError):
            raise FetchError(
                Reason.CONNECTION,
                f"The host {host!r} cannot be resolved: {found.strerror or found}.",
                again=Again.ALWAYS,
            ) from found
        return found

    def _look_up(self, host: str, port: int) -> list[str] | OSError:
        try:
            infos = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
        except OSError as error:
            return error
        except UnicodeError as error:
            return OSError(str(error))
        finally:
            del self._pending[host, port]
        found = list(dict.fromkeys(str(info[4][0]) for info in infos))
        self._known[host, port] = (time.monotonic() + self._keep, found)
        return found


class Head(NamedTuple):
    """The status line and headers of an answer."""

    status: int
    reason: str
    version: str
    headers: list[tuple[str, str]]


class _HeadReader:
    """What httptools calls back."""

    __slots__ = ("headers", "reason")

    def __init__(self) -> None:
        self.reason = b""
        self.headers: list[tuple[str, str]] = []

    def on_status(self, status: bytes) -> None:
        self.reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode("latin-1"), value.strip(b" \t").decode("latin-1")))


class Connection:
    """A connection to `origin`, used for one request at a time."""

    __slots__ = ("_poll", "buffer", "origin", "ragged", "sock", "timeout")

    def __init__(self, sock: socket.socket, origin: Origin, timeout: float) -> None:
        self.sock = sock
        self.origin = origin
        self.timeout = timeout
        self.buffer = b""  #: bytes received and not yet used
        self._poll: select.poll | None = None
        if not isinstance(sock, SSLSocket):
            self._poll = _poll()
            self._poll.register(sock.fileno(), select.POLLIN | select.POLLHUP)
        self.ragged = False  #: TLS ended without a word: cut off, perhaps by somebody else

    @classmethod
    def open(
        cls,
        origin: Origin,
        *,
        public_only: bool,
        timeout: float,
        resolver: Resolver,
        tls: SSLContext,
    ) -> Connection:
        """Connect, within `timeout` seconds in all.

        With `public_only` an address that is not public is refused: HOST_NOT_ALLOWED.
        """
        late = FetchError(
            Reason.TIMEOUT, f"{origin} did not accept a connection in time.", again=Again.ALWAYS
        )
        with gevent.Timeout(timeout, late):
            addresses = resolver.addresses(origin.host, origin.port)
            if public_only:
                for address in addresses:
                    if not is_public(address):
                        raise not_public(origin, address)
            sock = _connect(origin, addresses, timeout)
            try:
                if origin.scheme == "https":
                    sock = tls.wrap_socket(
                        sock, server_hostname=origin.host, suppress_ragged_eofs=False
                    )
            except ssl.SSLCertVerificationError as error:
                sock.close()
                raise FetchError(
                    Reason.CONNECTION,
                    f"{origin} has a certificate that is not trusted: {error.verify_message}. "
                    "If it is your own, name its authority in REQUESTS_CA_BUNDLE or "
                    "SSL_CERT_FILE.",
                ) from error
            except (OSError, ValueError) as error:
                sock.close()
                raise _broken(origin, error) from error
            except BaseException:
                sock.close()
                raise
        return cls(sock, origin, timeout)

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()

    def is_idle(self) -> bool:
        """Whether the connection is open and nothing that nobody asked for has come in."""
        if self.buffer:
            return False
        if self._poll is not None:
            return not self._poll.poll(0)
        # Over TLS there may be bytes that are no data, such as session tickets.
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
            sent = self.sock.send(data)  # nearly always all of it, and for half of the cost
            if sent < len(data):
                self.sock.sendall(data[sent:])
        except OSError as error:
            raise _broken(self.origin, error) from error

    def receive(self, size: int, seconds: float) -> bytes:
        """Return up to `size` bytes, b"" at the end; waits for at most `seconds`."""
        try:
            try:
                self.sock.settimeout(seconds)
                return self.sock.recv(size)
            except TimeoutError:
                # The time may have passed while this process did other things, and the bytes
                # may long be there.
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
        if isinstance(error, ssl.SSLEOFError):
            self.ragged = True
            return b""
        raise _broken(self.origin, error) from error

    def read_head(self) -> Head:
        """Read the head of the next answer; what came with it of the body is in `buffer`."""
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


def _connect(origin: Origin, addresses: list[str], timeout: float) -> socket.socket:
    """Connect to the first of `addresses` that accepts, sharing the time among them."""
    problem: OSError | None = None
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout / len(addresses))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect((address, origin.port))
        except OSError as error:
            sock.close()
            problem = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    if problem is None:
        raise FetchError(Reason.CONNECTION, f"{origin.host} has no address.", again=Again.ALWAYS)
    raise _broken(origin, problem) from problem


def _broken(origin: Origin, error: OSError | ValueError) -> FetchError:
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
        reader.headers,
    )
