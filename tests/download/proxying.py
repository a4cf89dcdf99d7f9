"""A small proxy for tests: HTTP (as it is, and CONNECT) and SOCKS5, at one port, on threads.

Names that it is told of lead to loopback; it keeps what it was asked for. On purpose it can want a
login, or answer in a way of a test's own.
"""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.simulator.wire import parse_head


@dataclass
class Asked:
    """What a proxy was asked for."""

    kind: str  #: GET, HEAD, CONNECT or SOCKS5
    target: str  #: an address, or host and port
    headers: dict[str, str] = field(default_factory=dict)


class TestProxy:
    """A proxy on loopback. `names` says which port of loopback a host is."""

    __test__ = False

    def __init__(
        self,
        names: dict[str, int] | None = None,
        *,
        login: tuple[str, str] | None = None,
        misbehave: Callable[[socket.socket], None] | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.names = names or {}
        self.login = login
        self.misbehave = misbehave
        self.context = context  #: of a proxy that is spoken to over TLS
        self.asked: list[Asked] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, kind: str = "http", login: str = "") -> str:
        """Its address, as one of this kind."""
        return f"{kind}://{login}{'@' if login else ''}127.0.0.1:{self.port}"

    def __enter__(self) -> TestProxy:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError, EOFError), contextlib.closing(sock):
            if self.context is not None:
                sock = self.context.wrap_socket(sock, server_side=True)
                self._open.append(sock)
            if self.misbehave is not None:
                sock.recv(1 << 16)
                self.misbehave(sock)
                sock.close()
            elif self.context is None and sock.recv(1, socket.MSG_PEEK) == b"\5":
                self._socks(sock)
            else:
                self._http(sock)

    def _connect(self, host: str, port: int) -> socket.socket:
        port = self.names.get(host, port)
        onward = socket.create_connection(("127.0.0.1" if host in self.names else host, port))
        self._open.append(onward)
        return onward

    def _http(self, sock: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += sock.recv(1 << 16) or b"\r\n\r\n"
        head, _, rest = data.partition(b"\r\n\r\n")
        method, target, headers = parse_head(head)
        self.asked.append(Asked(method, target, headers))
        if self.login is not None:
            wanted = base64.b64encode(":".join(self.login).encode()).decode()
            if headers.get("proxy-authorization") != f"Basic {wanted}":
                sock.sendall(
                    b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
                )
                return
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            onward = self._connect(host.strip("[]"), int(port))
            sock.sendall(b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n")
        else:
            parts = urlsplit(target)
            onward = self._connect(parts.hostname or "", parts.port or 80)
            path = parts._replace(scheme="", netloc="").geturl()
            lines = [f"{method} {path} HTTP/1.1"]
            passed = {k: v for k, v in headers.items() if not k.startswith("proxy-")}
            lines += [
                f"{name}: {value}" for name, value in (passed | {"connection": "close"}).items()
            ]
            onward.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + rest)
        relay(sock, onward)

    def _socks(self, sock: socket.socket) -> None:
        _, count = exactly(sock, 2)
        methods = exactly(sock, count)
        method = 2 if self.login else 0
        if method not in methods:
            sock.sendall(b"\5\xff")
            return
        sock.sendall(bytes([5, method]))
        if self.login:
            exactly(sock, 1)
            given = tuple(exactly(sock, exactly(sock, 1)[0]).decode() for _ in range(2))
            sock.sendall(b"\1\0" if given == self.login else b"\1\1")
            if given != self.login:
                return
        _, _, _, kind = exactly(sock, 4)
        if kind == 3:
            host = exactly(sock, exactly(sock, 1)[0]).decode()
        else:
            family, size = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
            host = socket.inet_ntop(family, exactly(sock, size))
        port = int.from_bytes(exactly(sock, 2), "big")
        self.asked.append(Asked("SOCKS5", f"{host}:{port}"))
        try:
            onward = self._connect(host, port)
        except OSError:
            sock.sendall(b"\5\5\0\1" + bytes(6))
            return
        sock.sendall(b"\5\0\0\1" + bytes(6))
        relay(sock, onward)


def exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def relay(one: socket.socket, other: socket.socket) -> None:
    """Pass everything on, both ways, until either side ends."""
    to = {one: other, other: one}
    while True:
        ready = [s for s in to if isinstance(s, ssl.SSLSocket) and s.pending()]
        for sock in ready or select.select(list(to), [], [])[0]:
            data = sock.recv(1 << 16)
            if not data:
                for each in to:
                    with contextlib.suppress(OSError):
                        socket.socket.shutdown(each, socket.SHUT_WR)
                return
            to[sock].sendall(data)
