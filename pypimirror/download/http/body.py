"""Read the body of an answer: its framing and its pace.

Content-Length, chunks or the end of the connection delimit a body. All three are read strictly.
`pypimirror.download.http.content_encoding` undoes a Content-Encoding.

The pace: in its k-th time-out (30 s by default), a body must bring at least min(k, 32) KiB. So a
slow line passes, with about 1 KiB/s for a large file. A drip of single bytes ends in the first
time-out. No body can take much longer than its size at 1 KiB/s.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Protocol

from pypimirror.domain.model import Reason
from pypimirror.download.failure import Again, FetchError, bad_response
from pypimirror.download.http.connection import READ_SIZE, HttpConnection

LARGE = 256 << 10  #: bytes read at once if a body has more than `READ_SIZE`
#: A body of so many bytes is read in larger pieces, which costs a sixth less. Few bodies are so
#: large, so the buffers need little memory.
HUGE, LARGER = 64 << 20, 1 << 20
#: The line before a chunk, and one of the headers behind the last.
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t -~\x80-\xff]*)?\r\n")
_TRAILER_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n")
LONGEST_LINE = 8 << 10  #: bytes of such a line
#: Most bytes on the network for each byte of a body in chunks. A chunk of one byte takes 6.
FRAMING = 16
SLOWEST = 1024  #: bytes in the first time-out, twice as many in the second, ...
SLOWEST_STEPS = 32  #: ... up to this many times

_buffers: list[bytearray] = []  # of LARGE bytes each, not in use


class Pace:
    """Whether bytes come fast enough. `timeout` is in seconds."""

    __slots__ = ("_bytes", "_started", "_windows", "timeout")

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._started = time.monotonic()
        self._bytes = 0
        self._windows = 1

    def took(self, count: int, host: object) -> None:
        """Count bytes. Raises `FetchError` (TIMEOUT) if they are too few."""
        self._bytes += count
        now = time.monotonic()
        if now - self._started < self.timeout:
            return
        if self._bytes < SLOWEST * self._windows:
            raise FetchError(
                Reason.TIMEOUT,
                f"{host} sent only {self._bytes} bytes in {now - self._started:.1f} seconds.",
                again=Again.ALWAYS,
            )
        self._windows = min(self._windows + 1, SLOWEST_STEPS)
        self._started = now
        self._bytes = 0


class Raw(Protocol):
    """A body that is read in pieces."""

    excess: bool  #: bytes came after the end
    delimited: bool  #: the answer said where its body ends

    def next_piece(self) -> bytes | memoryview:
        """Return the next bytes as they crossed the network; b"" at the end."""

    def close(self) -> None:
        """Stop reading."""


class Body:
    """The body of an answer. Subclasses know where it ends.

    `finished` is called once with the connection and whether it can be used again.
    """

    delimited = True

    def __init__(
        self, connection: HttpConnection, finished: Callable[[HttpConnection, bool], None]
    ) -> None:
        self._connection = connection
        self._finished: Callable[[HttpConnection, bool], None] | None = finished
        self._pace = Pace(connection.timeout)
        self.excess = False  #: bytes came after the end

    def next_piece(self) -> bytes | memoryview:
        """Return the next bytes; b"" at the end. A memoryview is valid until the next call."""
        if self._finished is None:
            return b""
        try:
            piece = self._next()
        except BaseException:
            self.close()
            raise
        if not piece:
            self._end(reusable=True)
        return piece

    def _next(self) -> bytes | memoryview:
        raise NotImplementedError

    def _receive(self, size: int) -> bytes:
        connection = self._connection
        if connection.buffer:
            data = connection.buffer[:size]
            connection.buffer = connection.buffer[size:]
            return data
        data = connection.receive(size, self._pace.timeout)
        self._pace.took(len(data), connection.origin)
        return data

    def _end(self, *, reusable: bool) -> None:
        finished, self._finished = self._finished, None
        if finished is not None:
            self.excess = bool(self._connection.buffer)
            finished(self._connection, reusable and not self.excess)

    def close(self) -> None:
        """Stop reading. If the body has not ended, the connection is closed."""
        self._end(reusable=False)


class EmptyBody(Body):
    """No body, as with a status of 204 or 304: the connection is free at once."""

    def __init__(
        self, connection: HttpConnection, finished: Callable[[HttpConnection, bool], None]
    ) -> None:
        super().__init__(connection, finished)
        self._end(reusable=True)


class LengthBody(Body):
    """A body with a Content-Length."""

    def __init__(
        self,
        connection: HttpConnection,
        finished: Callable[[HttpConnection, bool], None],
        length: int,
    ) -> None:
        super().__init__(connection, finished)
        self._missing = length
        self._length = length
        self._buffer: bytearray | None = None

    def _next(self) -> bytes | memoryview:
        missing = self._missing
        if not missing:
            return b""
        piece: bytes | memoryview
        if missing <= READ_SIZE or self._connection.buffer:
            piece = self._receive(min(missing, READ_SIZE))
        else:
            piece = self._receive_large(missing)
        if not piece:
            raise FetchError(
                Reason.TRUNCATED,
                f"{self._connection.origin} sent {self._length - missing} of {self._length} bytes.",
                again=Again.ALWAYS,
            )
        self._missing = missing - len(piece)
        return piece

    def _receive_large(self, missing: int) -> memoryview:
        if self._buffer is None:
            if self._length >= HUGE:
                self._buffer = bytearray(LARGER)
            else:
                self._buffer = _buffers.pop() if _buffers else bytearray(LARGE)
        view = memoryview(self._buffer)[: min(missing, len(self._buffer))]
        count = self._connection.receive_into(view, self._pace.timeout)
        self._pace.took(count, self._connection.origin)
        return view[:count]

    def _end(self, *, reusable: bool) -> None:
        buffer, self._buffer = self._buffer, None
        if buffer is not None and len(buffer) == LARGE and len(_buffers) < 64:
            _buffers.append(buffer)
        super()._end(reusable=reusable)


class ChunkedBody(Body):
    """A body in chunks, by RFC 9112, 7.1; extensions and trailers are ignored."""

    def __init__(
        self, connection: HttpConnection, finished: Callable[[HttpConnection, bool], None]
    ) -> None:
        super().__init__(connection, finished)
        self._expected: Callable[[bytes, int], int] = self._size
        self._missing = 0  # bytes of the chunk that has begun
        self._complete = False
        self._parts: list[bytes] = []
        self._rest = b""  # the beginning of an incomplete line
        self._came = 0  # bytes from the network
        self._held = 0  # those of them that belong to the body

    def _next(self) -> bytes:
        while not self._complete:
            came = self._receive(READ_SIZE)
            if not came:
                raise FetchError(
                    Reason.TRUNCATED,
                    f"{self._connection.origin} ended the connection before the last chunk.",
                    again=Again.ALWAYS,
                )
            self._came += len(came)
            data = self._rest + came
            at = 0
            while not self._complete and (then := self._expected(data, at)) > at:
                at = then
            self._rest = data[at:]
            if self._complete:  # bytes after the end belong to no answer of ours
                self._connection.buffer = self._rest + self._connection.buffer
            elif self._came > READ_SIZE + FRAMING * self._held or len(self._rest) > LONGEST_LINE:
                raise bad_response(f"{self._connection.origin} sent chunks that hold nothing.")
            if self._parts:
                piece = b"".join(self._parts)
                self._parts.clear()
                return piece
        return b""

    # What may come next. Each function reads it from `data`, starting at `at`. It returns where it
    # ends, or `at` if it is incomplete.

    def _size(self, data: bytes, at: int) -> int:
        match = _CHUNK_LINE.match(data, at)
        if match is None:
            return self._incomplete(data, at)
        self._missing = int(match.group(1), 16)
        self._expected = self._chunk if self._missing else self._trailer
        return match.end()

    def _chunk(self, data: bytes, at: int) -> int:
        part = data[at : at + self._missing]
        if part:
            self._parts.append(part)
            self._held += len(part)
            self._missing -= len(part)
        if not self._missing:
            self._expected = self._behind
        return at + len(part)

    def _behind(self, data: bytes, at: int) -> int:
        if data.startswith(b"\r\n", at):
            self._expected = self._size
            return at + 2
        return self._incomplete(data, at)

    def _trailer(self, data: bytes, at: int) -> int:
        if data.startswith(b"\r\n", at):
            self._complete = True
            return at + 2
        match = _TRAILER_LINE.match(data, at)
        return match.end() if match is not None else self._incomplete(data, at)

    def _incomplete(self, data: bytes, at: int) -> int:
        """Return `at`: more must come. Raises `FetchError` if a whole line is there."""
        if b"\n" in data[at:] or (self._expected == self._behind and data[at:] not in b"\r"):
            raise bad_response(
                f"{self._connection.origin} sent chunks that break HTTP: {data[at:][:40]!r}."
            )
        return at


class UntilCloseBody(Body):
    """A body that ends with its connection."""

    delimited = False

    def _next(self) -> bytes:
        piece = self._receive(READ_SIZE)
        if not piece and self._connection.ragged:
            raise FetchError(
                Reason.TRUNCATED,
                f"{self._connection.origin} ended the connection without saying so.",
                again=Again.ALWAYS,
            )
        return piece

    def _end(self, *, reusable: bool) -> None:  # noqa: ARG002
        super()._end(reusable=False)
