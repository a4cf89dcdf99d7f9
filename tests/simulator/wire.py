"""A small HTTP/1.1 server on threads that can also break every rule on purpose.

Each connection has a thread with a plain blocking socket, so a fault may stop at any byte without
effect on others. The server does not know indexes; `Simulator` gives it the answers.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import unquote

from tests.ports import reserve
from tests.simulator.index import Buffer

MAX_HEAD = 1 << 20


class Disconnect(Exception):
    """Ends a connection, in order or with a reset."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__()
        self.reset = reset


@dataclass
class Request:
    """One line of the request log. Status and bytes are filled in when they are known."""

    number: int
    connection: int
    method: str
    target: str  #: as received
    path: str  #: without the query, percent-decoded
    query: str
    headers: dict[str, str]  #: names in lower case
    started: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    status: int = 0  #: 0 before an answer, or without one
    sent: int = 0  #: bytes of the body that were sent
    finished: bool = False  #: the whole answer was sent
    faults: tuple[str, ...] = ()


@dataclass
class Answer:
    """The answer to send. The server adds Content-Length if it is not set."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Buffer = b""

    def head(self) -> bytes:
        """Status line and headers."""
        try:
            phrase = HTTPStatus(self.status).phrase
        except ValueError:
            phrase = "Unknown"
        lines = [f"HTTP/1.1 {self.status} {phrase}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


class Exchange:
    """One request and its answer on the wire; faults work with it."""

    def __init__(self, server: Server, sock: socket.socket, request: Request) -> None:
        self.server = server
        self.sock = sock
        self.request = request
        self.full_body: Buffer = b""  #: the body of the healthy answer, before a range was cut
        self.keep_alive = request.headers.get("connection", "").lower() != "close"
        self.doomed = False  #: whether this request gets no answer
        self.doom_next = False  #: whether the connection's next request gets no answer

    def write_head(self, answer: Answer) -> None:
        """Send status line and headers."""
        self.request.status = answer.status
        self.sock.sendall(answer.head())

    def write(self, data: Buffer) -> None:
        """Send bytes of the body."""
        view = memoryview(data)
        for start in range(0, len(view), 1 << 18):
            piece = view[start : start + (1 << 18)]
            self.sock.sendall(piece)
            self.request.sent += len(piece)

    def send(self, answer: Answer) -> None:
        """Send the answer correctly."""
        self.request.status = answer.status
        body = b"" if self.request.method == "HEAD" or answer.status == 304 else answer.body
        if len(body) <= 1 << 14:
            self.sock.sendall(answer.head() + bytes(body))
            self.request.sent += len(body)
        else:
            self.write_head(answer)
            self.write(body)

    def pause(self, seconds: float | None = None) -> None:
        """Wait; ends early when the simulator closes or the client goes away."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return
            watched = [self.server.wake_reader, self.sock]
            readable, _, _ = select_readable(watched, left)
            if self.server.closing.is_set():
                raise Disconnect
            if self.sock in readable:
                if not peek(self.sock):
                    raise Disconnect
                self.server.closing.wait(left)  # a pipelined request must wait, too
                return

    def disconnect(self, *, reset: bool = False) -> None:
        """End the connection here."""
        raise Disconnect(reset=reset)


def select_readable(
    sockets: list[socket.socket], seconds: float | None
) -> tuple[list[socket.socket], None, None]:
    """Like select.select, without its limit on descriptors."""
    poll = select.poll()
    by_number = {sock.fileno(): sock for sock in sockets}
    for number in by_number:
        poll.register(number, select.POLLIN | select.POLLHUP | select.POLLERR)
    ready = poll.poll(None if seconds is None else max(0, int(seconds * 1000) + 1))
    return [by_number[number] for number, _ in ready], None, None


def peek(sock: socket.socket) -> bool:
    """Whether there are bytes to read, and not the end."""
    if isinstance(sock, ssl.SSLSocket):
        return True
    with contextlib.suppress(OSError):
        return bool(sock.recv(1, socket.MSG_PEEK))
    return False


def finish(sock: socket.socket) -> None:
    """End our side in order, so that the client can tell an end from a cut, also over TLS."""
    if isinstance(sock, ssl.SSLSocket):
        sock.settimeout(0.2)
        sock.unwrap()
    socket.socket.shutdown(sock, socket.SHUT_WR)


class Server:
    """Listens, reads requests, calls `answer` for each, and counts connections."""

    def __init__(
        self,
        host: str,
        respond: Callable[[Exchange], None],
        new_request: Callable[[int, str, str, dict[str, str]], Request],
        context: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        self.host = host
        self.respond = respond
        self.new_request = new_request
        self.context = context
        self.reservation, self.port = reserve(host, port)
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self.open: dict[int, socket.socket] = {}
        self.threads: set[threading.Thread] = set()
        self.accepted = 0
        self.peak = 0
        self.listener: socket.socket | None = None
        self.wake_reader, self.wake_writer = socket.socketpair()

    def listen(self) -> None:
        """Accept connections; on the same port again after `refuse`."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.host, self.port))
        listener.listen(4096)
        self.listener = listener
        thread = threading.Thread(target=self._accept, args=(listener,), daemon=True)
        thread.start()

    def refuse(self) -> None:
        """Close the port and every connection: from now on, connecting is refused."""
        listener, self.listener = self.listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.drop_connections()

    def drop_connections(self) -> None:
        """End every open connection."""
        with self.lock:
            sockets = list(self.open.values())
        for sock in sockets:
            with contextlib.suppress(OSError, ValueError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """End everything, including stalled answers; return when the threads have ended."""
        self.closing.set()
        self.wake_writer.close()
        self.refuse()
        self.reservation.close()
        deadline = time.monotonic() + 5
        with self.lock:
            threads = list(self.threads)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        self.wake_reader.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            if self.closing.is_set():
                sock.close()
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.accepted += 1
                number = self.accepted
                self.open[number] = sock
                self.peak = max(self.peak, len(self.open))
                thread = threading.Thread(target=self._serve, args=(number, sock), daemon=True)
                thread.start()  # before anybody waits for its end
                self.threads.add(thread)

    def _serve(self, number: int, sock: socket.socket) -> None:
        reset = False
        try:
            if self.context is not None:
                sock = self.context.wrap_socket(sock, server_side=True)
                with self.lock:
                    self.open[number] = sock
            self._converse(number, sock)
        except Disconnect as end:
            reset = end.reset
        except (OSError, ValueError):
            pass  # the client went away, or the simulator closes
        finally:
            with self.lock:
                self.open.pop(number, None)
                self.threads.discard(threading.current_thread())
            with contextlib.suppress(OSError, ValueError):
                if reset:
                    linger = struct.pack("ii", 1, 0)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                else:
                    finish(sock)
            sock.close()

    def _converse(self, number: int, sock: socket.socket) -> None:
        buffer = b""
        doomed = False
        while not self.closing.is_set():
            while (end := buffer.find(b"\r\n\r\n")) < 0:
                data = sock.recv(1 << 16)
                if not data or len(buffer) > MAX_HEAD:
                    return
                buffer += data
            head, buffer = buffer[:end], buffer[end + 4 :]
            method, target, headers = parse_head(head)
            length = int(headers.get("content-length", 0))
            while len(buffer) < length:
                data = sock.recv(1 << 16)
                if not data:
                    return
                buffer += data
            buffer = buffer[length:]
            exchange = Exchange(self, sock, self.new_request(number, method, target, headers))
            exchange.doomed = doomed
            self.respond(exchange)
            doomed = exchange.doom_next
            if not exchange.keep_alive:
                return


def parse_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    """Return method, target and headers of a request; raises `ValueError` if it is none."""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        key = name.lower()
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    return method, target, headers


def split_target(target: str) -> tuple[str, str]:
    """Return the percent-decoded path and the query of a request's target."""
    if "://" in target:  # the client uses this server as a proxy
        target = "/" + target.split("://", 1)[1].partition("/")[2]
    path, _, query = target.partition("?")
    return unquote(path), query
