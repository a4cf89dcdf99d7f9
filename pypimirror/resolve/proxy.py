"""An HTTP proxy on loopback: the only way out for a resolver that runs as a child process.

A resolver asks each host that a page names. So it gets this proxy, which lets through only the
hosts that the configuration allows (`pypimirror.resolve.ways`), and answers everything else with
403 and the reason. `ResolverProxy.refused` has these reasons, because resolvers hide them.

It answers `CONNECT host:port` and plain requests with a whole address, if the caller knows its
password. Other users of this machine do not know the password.

Limits: `MOST` connections, `MAX_HEAD` bytes for the head of a request or an answer, one time-out
for a head, and the same between any two bytes. A connection is used for one request.
"""

from __future__ import annotations

import contextlib
import hmac
import re
import secrets
import select
import socket
import ssl
import struct
import threading
from typing import Self

from pypimirror.domain.addresses import basic
from pypimirror.download.failure import FetchError
from pypimirror.download.http.hosts import Address, HostError, parse_url
from pypimirror.download.protocol import Remote
from pypimirror.resolve.ways import Way, Ways, read_head

MOST = 256  #: connections at once; more wait
_MOST_TOLD = 20  #: different refusals and failures that are kept
_SIZE = 64 << 10  #: bytes to read at once

_REQUEST = re.compile(rb"(CONNECT|GET|HEAD) ([!-~]{1,8192}) HTTP/1\.[01]")
_OWN = (b"connection", b"proxy-connection", b"proxy-authorization", b"keep-alive", b"host")
_RESET = struct.pack("ii", 1, 0)  # for SO_LINGER: the end is no proper one


class ResolverProxy:
    """Runs while it is entered."""

    def __init__(self, remotes: tuple[Remote, ...], timeout: float = 30.0) -> None:
        self.refused: list[str] = []  #: why hosts were not asked
        self.failed: list[str] = []  #: why hosts that may be asked could not be
        self._ways = Ways(remotes, timeout)
        self._timeout = timeout
        self._password = secrets.token_urlsafe(24)
        self._free = threading.BoundedSemaphore(MOST)
        self._open: set[socket.socket] = set()
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        threading.Thread(target=self._accept, daemon=True, name="proxy").start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        for sock in (self._listener, *list(self._open)):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @property
    def url(self) -> str:
        """Its address with the password, for the resolver alone."""
        return f"http://proxy:{self._password}@127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        while True:
            self._free.acquire()
            try:
                sock, _ = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            with sock, contextlib.suppress(OSError):
                self._open.add(sock)
                if not self._closed.is_set():
                    self._answer(sock)
        finally:
            self._open.discard(sock)
            self._free.release()

    def _answer(self, sock: socket.socket) -> None:
        head, rest = read_head(sock, self._timeout)
        first, *lines = head.split(b"\r\n")
        asked = _REQUEST.fullmatch(first)
        login = f"proxy-authorization: {basic('proxy', self._password)}".encode()
        if not any(hmac.compare_digest(_normal(line), _normal(login)) for line in lines):
            _refuse(sock, 407, "This is for the resolver of one run")
        elif asked is None or rest:
            _refuse(sock, 400, "CONNECT, or GET or HEAD of a whole address, is needed")
        else:
            method, target = asked[1].decode("ascii"), asked[2].decode("ascii")
            self._pass(sock, method, target, lines)

    def _pass(self, sock: socket.socket, method: str, target: str, lines: list[bytes]) -> None:
        """Connect to the host of a request and relay, or say why not."""
        try:
            address = parse_url(f"https://{target}/" if method == "CONNECT" else target)
            way = self._ways.open(address)
        except HostError as error:
            _keep(self.refused, error.message)
            return _refuse(sock, 403, error.message)
        except (FetchError, OSError) as error:
            said = str(error) if isinstance(error, FetchError) else f"{target}: {error}"
            _keep(self.failed, said)
            return _refuse(sock, 502, said)
        with way.sock as there:
            there.settimeout(self._timeout)
            self._open.add(there)
            try:
                if method == "CONNECT":
                    sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                else:
                    there.sendall(_request(method, address, way, lines))
                    _send_head(there, sock, self._timeout)
                _relay(sock, there, self._timeout)
            except OSError:
                # A body without a length must not seem to be complete.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                raise
            finally:
                self._open.discard(there)


def _request(method: str, address: Address, way: Way, lines: list[bytes]) -> bytes:
    """Return the head of a plain request for the host, or for the proxy that is asked for it."""
    target = address.target if way.asked is None else address.url
    kept = [line for line in lines if line.partition(b":")[0].strip().lower() not in _OWN]
    first = [f"{method} {target} HTTP/1.1", f"Host: {address.origin.authority}"]
    if way.asked is not None and way.asked.login:
        first.append(f"Proxy-Authorization: {basic(*way.asked.login)}")
    own = [line.encode("ascii") for line in (*first, "Connection: close")]
    return b"\r\n".join([*own, *kept, b"", b""])


def _send_head(there: socket.socket, sock: socket.socket, timeout: float) -> None:
    """Pass the head of an answer on, with the end of the connection after it."""
    rest = b""
    status = b"1"
    while status.startswith(b"1"):  # interim answers
        head, rest = read_head(there, timeout, rest)
        status = head.partition(b" ")[2]
    lines = [x for x in head.split(b"\r\n") if x.partition(b":")[0].strip().lower() not in _OWN]
    sock.settimeout(timeout)
    sock.sendall(b"\r\n".join([*lines, b"Connection: close", b"", b""]) + rest)


def _relay(one: socket.socket, other: socket.socket, timeout: float) -> None:
    """Pass bytes both ways until one side ends. Raises `OSError`."""
    poll = select.poll()
    sides = {one.fileno(): (one, other), other.fileno(): (other, one)}
    for number in sides:
        poll.register(number, select.POLLIN)
    while ready := poll.poll(timeout * 1000):
        for number, _ in ready:
            source, sink = sides[number]
            while True:
                source.settimeout(0.0)
                try:
                    data = source.recv(_SIZE)
                except (BlockingIOError, ssl.SSLWantReadError):
                    break
                if not data:
                    return
                sink.settimeout(timeout)
                sink.sendall(data)
                if not (isinstance(source, ssl.SSLSocket) and source.pending()):
                    break
    raise TimeoutError


def _refuse(sock: socket.socket, status: int, said: str) -> None:
    """Answer with a reason, also in the status line: that is what uv shows."""
    line = "".join(c if " " <= c <= "~" else "?" for c in said)
    body = f"{line}\n".encode()
    head = f"HTTP/1.1 {status} {line[:400]}\r\nContent-Type: text/plain\r\n"
    sock.sendall(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)


def _normal(line: bytes) -> bytes:
    name, _, value = line.partition(b":")
    return name.strip().lower() + b":" + value.strip()


def _keep(told: list[str], message: str) -> None:
    if message not in told and len(told) < _MOST_TOLD:
        told.append(message)
