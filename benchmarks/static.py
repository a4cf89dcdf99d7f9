"""A small fast static server, for machines without nginx, or without nginx's module for delays.

python -m benchmarks.static DIRECTORY PORT [--delay SECONDS] [--processes N] [--cert PEM]

It knows only the layout of `benchmarks.corpus`. It answers GET only, by HTTP/1.1, one answer after
another on a connection. A delay costs a timer, not a thread.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import re
import signal
import socket
import ssl
from email.utils import formatdate
from pathlib import Path
from typing import Any

SMALL = 256 << 10  #: bytes: files up to this size are sent with the head, larger ones in pieces
SERIAL = 2_000_000_000  #: for bandersnatch: a serial greater than all others

SIMPLE, LEGACY, OCTETS = (
    "application/vnd.pypi.simple.v1+json",
    f"application/json\r\nX-PyPI-Last-Serial: {SERIAL}",
    "application/octet-stream",
)
_ROUTES = (
    (re.compile(r"/simple/?"), "simple.json", SIMPLE),
    (re.compile(r"/part/simple/?"), "part.json", SIMPLE),
    (re.compile(r"/simple/([^/]+)/?"), "pages/{}.json", SIMPLE),
    (re.compile(r"(?:/part)?/pypi/([^/]+)/json"), "legacy/{}.json", LEGACY),
    (re.compile(r"/(packages/[^?#]+)"), "{}", OCTETS),
)


class Answerer(asyncio.Protocol):
    """Answers the requests of one connection."""

    def __init__(self, root: str, delay: float) -> None:
        self._root = root
        self._delay = delay
        self._data = b""
        self._task: asyncio.Task[None] | None = None
        self._free = asyncio.Event()
        self._free.set()

    def connection_made(self, transport: Any) -> None:
        """Remember the connection."""
        self._transport = transport

    def pause_writing(self) -> None:
        """Wait, because the client reads more slowly."""
        self._free.clear()

    def resume_writing(self) -> None:
        """Continue."""
        self._free.set()

    def connection_lost(self, _error: Exception | None) -> None:
        """Stop the answer that is under way."""
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer when a request is complete."""
        self._data += data
        if (end := self._data.find(b"\r\n\r\n")) < 0:
            return
        head, self._data = self._data[:end].decode("latin-1"), self._data[end + 4 :]
        if self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._answer, head)
        else:
            self._answer(head)

    def _answer(self, head: str) -> None:
        if self._transport.is_closing():
            return
        target = head.split(" ", 2)[1]
        for pattern, path, kind in _ROUTES:
            if match := pattern.fullmatch(target):
                with contextlib.suppress(OSError):
                    self._send(f"{self._root}/{path.format(*match.groups())}", kind, head)
                    return
        self._transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    def _send(self, path: str, kind: str, request: str) -> None:
        if ".." in path:
            raise FileNotFoundError(path)
        fd = os.open(path, os.O_RDONLY)
        status = os.fstat(fd)
        etag = f'"{int(status.st_mtime):x}-{status.st_size:x}"'
        if etag in request:
            os.close(fd)
            self._transport.write(f"HTTP/1.1 304 Not Modified\r\nETag: {etag}\r\n\r\n".encode())
            return
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Length: {status.st_size}\r\nETag: {etag}\r\n"
            f"Last-Modified: {formatdate(status.st_mtime, usegmt=True)}\r\n"
            f"Content-Type: {kind}\r\n\r\n"
        ).encode()
        if status.st_size <= SMALL:
            with os.fdopen(fd, "rb", 0) as file:
                self._transport.write(head + (file.read() or b""))
        else:
            self._task = asyncio.get_running_loop().create_task(self._send_large(fd, head))

    async def _send_large(self, fd: int, head: bytes) -> None:
        self._transport.write(head)
        with os.fdopen(fd, "rb", 0) as file:
            while piece := file.read(SMALL):
                await self._free.wait()
                self._transport.write(piece)


def listen(port: int) -> socket.socket:
    """Return a socket for a port that several processes share, each with its own socket."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(1024)
    return sock


def serve(directory: str, port: int, delay: float, certificate: Path | None) -> None:
    """Serve until SIGTERM."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, ended.set)
        await loop.create_server(lambda: Answerer(directory, delay), sock=listen(port), ssl=context)
        await ended.wait()

    asyncio.run(main())


def main() -> None:
    """Serve with several processes; ends with them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("directory")
    parser.add_argument("port", type=int)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--cert", type=Path)
    options = parser.parse_args()
    arguments = (options.directory, options.port, options.delay, options.cert)
    others = [
        multiprocessing.Process(target=serve, args=arguments, daemon=True)
        for _ in range(options.processes - 1)
    ]
    for other in others:
        other.start()
    serve(*arguments)
    for other in others:
        other.terminate()
        other.join()


if __name__ == "__main__":
    main()
