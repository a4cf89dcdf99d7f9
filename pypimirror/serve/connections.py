"""The open connections of the web server: how many there may be, and which one is closed.

A client can use up file descriptors by doing nothing, so the server counts them. It raises its soft
limit and divides the result: one descriptor for each connection, one for the file that is sent on
it, and `RESERVE` for all else. So every answer finds a descriptor.

Idle clients never keep out a new one. When all places are taken, the server closes

1. the connection that has waited longest for the head of a request, idle ones included;
2. if none has waited for long, the one whose answer has made no progress for longest;
3. if all of them made progress just now, the connection of either kind that was idle longest.

It never closes the new connection.

Addresses of clients do not count: behind a proxy, all clients have the same one.
"""

from __future__ import annotations

import contextlib
import socket
import time
from operator import itemgetter

from gevent.event import Event

from pypimirror.system.machine import allow_descriptors

#: Most connections, if the hard limit allows as many. An idle one takes some 20 KiB.
MOST = 8192

#: Descriptors for everything else: the listener, the loop, the log, the process that makes metrics,
#: and `LATE`.
RESERVE = 96

#: Connections that are being closed and still hold a descriptor.
LATE = 32

#: Seconds without progress after which a connection counts as idle.
STILL = 1.0


def places() -> int:
    """How many connections this process can keep, after raising its limit of descriptors."""
    allowed = allow_descriptors(2 * MOST + RESERVE)
    return max(1, min(MOST, (allowed - RESERVE) // 2))


class Connections:
    """The connections of one server: at most `most`, and up to `LATE` that are being closed."""

    def __init__(self, most: int) -> None:
        self.most = most
        # Each with the time since when it is in this state; the longest comes first.
        self._waiting: dict[socket.socket, float] = {}
        self._answering: dict[socket.socket, float] = {}
        self._answered: Event | None = None  # someone waits for all answers

    def waits(self, connection: socket.socket) -> None:
        """Note that a connection is new, or has got its answer."""
        self._answering.pop(connection, None)
        self._waiting.pop(connection, None)
        self._waiting[connection] = time.monotonic()
        self._tell()
        if len(self._waiting) + len(self._answering) > self.most:
            self._make_room()

    def moves(self, connection: socket.socket) -> None:
        """Note that an answer begins, or that some of it was sent."""
        self._waiting.pop(connection, None)
        self._answering.pop(connection, None)
        self._answering[connection] = time.monotonic()

    def ended(self, connection: socket.socket) -> None:
        """Forget a connection."""
        self._waiting.pop(connection, None)
        self._answering.pop(connection, None)
        self._tell()

    def finish(self, seconds: float) -> None:
        """Wait until no answer is under way, for some seconds at most."""
        self._answered = Event()
        self._tell()
        self._answered.wait(seconds)

    def _tell(self) -> None:
        if self._answered is not None and not self._answering:
            self._answered.set()

    def _make_room(self) -> None:
        connection = self._least_useful()
        self.ended(connection)
        with contextlib.suppress(OSError):  # the client was faster
            # This wakes the greenlet that reads or writes there, and the greenlet closes it. A
            # descriptor that is closed from here could already belong to another connection.
            connection.shutdown(socket.SHUT_RDWR)

    def _least_useful(self) -> socket.socket:
        recently = time.monotonic() - STILL
        longest = [next(iter(those.items())) for those in (self._waiting, self._answering) if those]
        for connection, since in longest:
            if since <= recently:
                return connection
        return min(longest, key=itemgetter(1))[0]
