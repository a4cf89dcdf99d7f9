"""Messages between the first process and another one, and connections that go to the first.

Each message is a head of five bytes with its kind and its length, and then the bytes of the
message. The descriptor of a connection travels with the head. The first process ends the channel
when the other process must end; if a process dies, its end of the channel closes, too.
"""

from __future__ import annotations

import os
import socket as sockets
import struct
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from gevent.lock import BoundedSemaphore
from gevent.socket import recv_fds, send_fds, socket

_HEAD = struct.Struct("!cI")

#: Most bytes of a message.
_LONGEST = 4 << 20

#: Child processes must not inherit descriptors that came in a message, if the system has a flag for
#: this. Otherwise Python closes them in the child.
_FLAGS = getattr(sockets, "MSG_CMSG_CLOEXEC", 0)


class HandedConnection(NamedTuple):
    """To the first process: a connection, with the bytes that were read from it."""

    descriptor: int
    unread: bytes


class SentFiles(NamedTuple):
    """To the first process: which files were sent, each a project and a file name."""

    files: list[tuple[str, str]]


class Believed(NamedTuple):
    """From the first process: the place of a page, and until when (monotonic seconds) it is
    believed.
    """

    project: str | None  #: None: the list of projects
    root: str  #: of the tree that has it
    until: float


Message = HandedConnection | SentFiles | Believed

_USED = msgspec.json.Decoder(SentFiles)
_BELIEVED = msgspec.json.Decoder(Believed)


def _bytes_of(message: SentFiles | Believed) -> bytes:
    data = msgspec.json.encode(message)
    return _HEAD.pack(b"U" if isinstance(message, SentFiles) else b"B", len(data)) + data


class Channel:
    """One end. Any number of greenlets may send; one receives."""

    def __init__(self, connection: socket) -> None:
        self._socket = connection
        self._sending = BoundedSemaphore(1)

    def send(self, *messages: SentFiles | Believed) -> None:
        """Send messages. Raises `OSError` if nobody receives them."""
        with self._sending:
            self._socket.sendall(b"".join(map(_bytes_of, messages)))

    def hand_over(self, connection: HandedConnection) -> None:
        """Send a connection. Raises `OSError` if nobody receives it."""
        with self._sending:
            head = _HEAD.pack(b"C", len(connection.unread))
            send_fds(self._socket, [head], [connection.descriptor])
            self._socket.sendall(connection.unread)

    def messages(self) -> Iterator[Message]:
        """Yield messages until the other end is closed. Raises `OSError` and `MsgspecError`.

        The descriptor of a `HandedConnection` belongs to the caller.
        """
        while True:
            head, descriptors, _, _ = recv_fds(self._socket, _HEAD.size, 1, _FLAGS)
            try:
                if not head:
                    return
                kind, length = _HEAD.unpack(head + self._exactly(_HEAD.size - len(head)))
                if length > _LONGEST:
                    raise OSError(f"a message of {length} bytes")
                data = self._exactly(length)
            except BaseException:
                for descriptor in descriptors:
                    os.close(descriptor)
                raise
            if kind == b"C":
                yield from (HandedConnection(descriptor, data) for descriptor in descriptors)
            else:
                yield _USED.decode(data) if kind == b"U" else _BELIEVED.decode(data)

    def _exactly(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            if not (more := self._socket.recv(length - len(data))):
                raise OSError("the channel ended within a message")
            data += more
        return data

    def hang_up(self) -> None:
        """Send nothing more, so that the other end stops."""
        try:
            self._socket.shutdown(sockets.SHUT_WR)
        except OSError:  # it has ended already
            return

    def close(self) -> None:
        """Close this end."""
        self._socket.close()
