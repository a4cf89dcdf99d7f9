"""A client that repeats requests over a few connections, and costs little itself."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

CONNECTIONS = 8
#: The headers of a client that installs, such as uv.
HEADERS = (
    "Accept: application/vnd.pypi.simple.v1+json, text/html;q=0.01\r\nAccept-Encoding: gzip\r\n"
)


class _Connection:
    """A connection that is kept open for the next request."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._sock: socket.socket | None = None

    def send(self, request: bytes) -> None:
        if self._sock is None:
            self._sock = socket.create_connection(self._address, timeout=60)
        self._sock.sendall(request)

    def receive(self) -> None:
        """Read one answer to its end."""
        assert self._sock is not None
        data = self._read()
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._read()
        head = data[:end].lower()
        if not head.startswith(b"http/1.1 200 "):
            raise ValueError(f"not a good answer: {data[:200]!r}")
        body = data[end + 4 :]
        if b"\r\ntransfer-encoding: chunked" in head:
            while not body.endswith(b"0\r\n\r\n"):
                body = body[-4:] + self._read()
        else:
            missing = _length(head) - len(body)
            while missing > 0:
                missing -= len(self._read())
        if b"\r\nconnection: close" in head:
            self.close()

    def _read(self) -> bytes:
        assert self._sock is not None
        if data := self._sock.recv(1 << 18):
            return data
        raise ValueError("the server closed the connection")

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def _length(head: bytes) -> int:
    _, found, rest = head.partition(b"\r\ncontent-length:")
    if not found:
        raise ValueError(f"an answer without its length: {head!r}")
    return int(rest.partition(b"\r")[0])


def repeat(urls: Sequence[str], count: int, headers: str = HEADERS) -> float:
    """Send `count` requests, several at once, in the order of `urls`; return the seconds."""
    parts = [urlsplit(url) for url in urls]
    address = (parts[0].hostname or "", parts[0].port or 80)
    requests = itertools.cycle(
        f"GET {part.path} HTTP/1.1\r\nHost: {part.netloc}\r\n{headers}\r\n".encode()
        for part in parts
    )
    connections = [_Connection(address) for _ in range(CONNECTIONS)]
    try:
        began = time.perf_counter()
        for start in range(0, count, CONNECTIONS):
            some = connections[: count - start]
            for connection in some:
                connection.send(next(requests))
            for connection in some:
                connection.receive()
        return time.perf_counter() - began
    finally:
        for connection in connections:
            connection.close()
