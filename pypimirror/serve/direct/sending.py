"""Send direct answers: in one piece, or with `sendfile` from the page cache."""

from __future__ import annotations

import errno
import os
import socket as sockets
import time
from collections.abc import Callable, Iterator
from functools import lru_cache

import gevent
from gevent.socket import socket, wait_write
from werkzeug.http import http_date

from pypimirror.serve.direct.direct import DirectAnswer

#: Bytes of a file that are sent before others may go on.
TURN = 1 << 20

#: The head waits for the first bytes of the file, where the system can do so.
_MORE = getattr(sockets, "MSG_MORE", 0)

#: A file system without `sendfile`.
_CANNOT = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}


def send(connection: socket, answer: DirectAnswer, moves: Callable[[socket], None]) -> int:
    """Send an answer, close its file, and return the bytes of its body.

    `moves` is called if the client is slow, and again each time that it has accepted more bytes.
    Raises `OSError`, also if the client accepts nothing.
    """
    head = b"%b%b" % (answer.head, _date(int(time.time())))
    if answer.file is None:
        data = head + answer.body
        sent = connection.send(data)
        if sent < len(data):
            moves(connection)
            connection.sendall(memoryview(data)[sent:])
        return len(answer.body)
    with answer.file as file:
        moves(connection)
        connection.sendall(head, _MORE)
        for _ in _pieces(connection, file.fileno(), answer.size):
            moves(connection)
            gevent.sleep(0)
    return answer.size


def _pieces(connection: socket, file: int, size: int) -> Iterator[None]:
    """Send a file; yield after each piece but the last. Raises `OSError`."""
    to, sent = connection.fileno(), 0
    while True:
        try:
            count = os.sendfile(to, file, sent, min(TURN, size - sent))
        except BlockingIOError:
            wait_write(to, connection.gettimeout(), TimeoutError("timed out"))
            continue
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
            count = _copy(connection, file, sent, min(TURN, size - sent))
        sent += count
        if sent == size:
            return
        if not count:
            raise ConnectionAbortedError(errno.ECONNABORTED, "the file has become shorter")
        yield


def _copy(connection: socket, file: int, offset: int, size: int) -> int:
    data = os.pread(file, size, offset)
    connection.sendall(data)
    return len(data)


@lru_cache(maxsize=2)
def _date(now: int) -> bytes:
    """Return the header with the time, and the end of the head."""
    return f"Date: {http_date(now)}\r\n\r\n".encode()
