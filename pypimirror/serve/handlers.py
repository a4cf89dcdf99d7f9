"""pywsgi's server and handler, with bounds, and with direct answers (`direct`) before the long way.

Idle clients cannot block a server. `connections` bounds the number of connections and decides which
one is closed for a new one. The head of a request must arrive within `HEAD` seconds of its first
bytes. The body of a request is not read, because no request here needs one.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from io import BufferedReader, RawIOBase
from typing import TYPE_CHECKING, Any

import gevent
from gevent.pywsgi import WSGIHandler, WSGIServer

from pypimirror.serve.answers import BEGAN
from pypimirror.serve.connections import LATE, Connections, places
from pypimirror.serve.direct.direct import Direct, DirectAnswer
from pypimirror.serve.direct.heads import RequestHead, read_head
from pypimirror.serve.direct.sending import send

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

#: Seconds in which a head must arrive, and in which a client must send or accept something.
HEAD = 60.0
STALLED = 60.0

#: Seconds that running answers get to finish when a process of the server ends.
DRAIN = 5.0

#: Connections that may wait to be accepted.
BACKLOG = 1024


class Server(WSGIServer):
    """pywsgi's server, with a bound on connections."""

    max_accept = LATE  # connections accepted at once, before others that must close can close

    def __init__(
        self, listener: Any, app: WSGIApplication | None, direct: Direct | None, **options: Any
    ) -> None:
        self.connections = Connections(places())
        self.direct = direct
        super().__init__(listener, app, spawn=self.connections.most + LATE, **options)

    def do_read(self) -> Any:
        """Accept a connection."""
        accepted = super().do_read()
        if accepted:
            self.connections.waits(accepted[0])
        return accepted

    def take(self, connection: socket.socket, unread: bytes) -> None:
        """Continue a connection of another process, which has read the bytes `unread`."""
        self.connections.waits(connection)
        assert self.pool is not None
        self.pool.spawn(self._continue, connection, unread)

    def _continue(self, connection: socket.socket, unread: bytes) -> None:
        try:
            with contextlib.suppress(OSError):  # the client has gone
                handler = self.handler_class(connection, connection.getpeername(), self)
                handler.rfile = BufferedReader(_Continued(unread, handler.rfile))
                handler.handle()
        finally:
            self.do_close(connection)

    def do_close(self, sock: socket.socket, *arguments: Any) -> None:
        """Close a connection."""
        self.connections.ended(sock)
        super().do_close(sock, *arguments)


class _Continued(RawIOBase):
    """Bytes that were read from a stream, and the rest of the stream."""

    def __init__(self, unread: bytes, stream: BufferedReader) -> None:
        self._unread, self._stream = unread, stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._unread or self._stream.read1(len(buffer))
        size = min(len(data), len(buffer))
        buffer[:size], self._unread = data[:size], data[size:]
        return size


class RequestHandler(WSGIHandler):
    """pywsgi's handler, which also closes stalled connections, without a traceback."""

    #: Compared with the first argument of an `OSError`, which is a text for a time-out. A greenlet
    #: gets EBADF if its connection is closed while it waits.
    ignored_socket_errors: tuple[Any, ...] = (
        *(errno.EPIPE, errno.ECONNRESET, errno.EBADF),
        errno.ECONNABORTED,  # an answer that must not be completed
        "timed out",
    )

    server: Server

    def __init__(self, sock: socket.socket, address: Any, server: Server) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(STALLED)
        super().__init__(sock, address, server)

    def handle_one_request(self) -> Any:
        """Answer a request: directly, or the long way."""
        self.server.connections.waits(self.socket)
        self._began: float | None = None
        try:
            data = self.rfile.peek()
            if not data:
                return None
            if self._answer_directly(data):
                return None if self.close_connection else True
        except OSError as error:
            if not self._is_ordinary(error):
                raise
            return None
        return self.go_the_long_way()

    def _is_ordinary(self, error: BaseException) -> bool:
        """Whether an error only means that the client has left, or accepts nothing."""
        return (
            isinstance(error, OSError)
            and error.args[:1] != ()
            and error.args[0] in self.ignored_socket_errors
        )

    def _answer_directly(self, data: bytes) -> bool:
        """Send the direct answer to a request, if there is one; return whether there was."""
        if self.server.direct is None or (head := read_head(data)) is None:
            return False
        answer = self.server.direct.find(head) or self._fetch(self.server.direct, head)
        if answer is None:
            return False
        self.rfile.read(head.length)
        self.close_connection = head.fields.is_last
        self.response_length = send(self.socket, answer, self.server.connections.moves)
        self.log_direct(data, answer)
        return True

    def _fetch(self, direct: Direct, head: RequestHead) -> DirectAnswer | None:
        """Return the direct answer with what the fetcher brings soon."""
        if not direct.can_fetch(head):
            return None
        self.server.connections.moves(self.socket)
        self._began = time.monotonic()
        return direct.fetch(head, self._began)

    def go_the_long_way(self) -> Any:
        """Let pywsgi and the app answer."""
        self._patience = gevent.Timeout.start_new(HEAD, TimeoutError("timed out"))
        try:
            return super().handle_one_request()
        finally:
            self._patience.close()

    def log_direct(self, data: bytes, answer: DirectAnswer) -> None:
        """Log a direct answer to the request that `data` begins with."""
        self.requestline = data.partition(b"\r\n")[0].decode("latin-1")
        self._orig_status = str(answer.status)
        self.log_request()

    def read_request(self, raw_requestline: str) -> Any:
        """Read the head of a request that goes the long way."""
        understood = super().read_request(raw_requestline)
        self._patience.close()
        self.server.connections.moves(self.socket)
        if self._may_have_more():
            self.close_connection = True
            self.content_length = 0
            for name in ("content-length", "transfer-encoding"):
                del self.headers[name]
        return understood

    def get_environ(self) -> dict[str, Any]:
        """Return the environment of a request, with the time since which it waits."""
        environ: dict[str, Any] = super().get_environ()
        if self._began is not None:
            environ[BEGAN] = self._began
        return environ

    def _may_have_more(self) -> bool:
        """Whether a proxy may read the bytes after the head as the body of this request.

        This server would read it as the next request, so its answer could reach somebody else. So
        the connection ends if a request announces a body, even an empty one, or breaks HTTP.
        """
        bodies = ("content-length", "transfer-encoding")
        return bool(self.headers.defects) or any(name in self.headers for name in bodies)

    def _sendall(self, data: bytes) -> None:
        super()._sendall(data)  # type: ignore[misc]
        self.server.connections.moves(self.socket)

    def _handle_client_error(self, ex: BaseException) -> Any:
        if self._is_ordinary(ex):
            return None
        return super()._handle_client_error(ex)  # type: ignore[misc]


class QuietHandler(RequestHandler):
    """A handler that logs no requests."""

    def log_request(self) -> None:
        """Log nothing."""

    def log_direct(self, data: bytes, answer: DirectAnswer) -> None:
        """Log nothing."""
