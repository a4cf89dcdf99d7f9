"""Send a file that is still arriving, so that it is complete only if it is right.

Headers go out at once, and bytes as they arrive, except the last bytes that have arrived. The
server hashes the bytes that it sends. The end goes out only when the fetcher has verified the file
and the sent bytes have the claimed digest. So it does not matter whether the fetcher began again
with other bytes. Otherwise the server cuts the connection: then an answer with a Content-Length
lacks bytes, and a chunked answer lacks its last chunk.

Clients give up if no byte comes for a while. So during a pause, a byte goes out now and then.

Of a file without a usable claim, only such single bytes go out before it has its place. Then it is
sent from there, if it begins with the bytes that went out.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from io import FileIO
from pathlib import Path
from typing import IO, TYPE_CHECKING

import gevent
from werkzeug.wrappers import Response

from pypimirror.domain.model import ALGORITHMS
from pypimirror.on_demand.messages import Coming, Here
from pypimirror.serve.demand.link import Question
from pypimirror.serve.tree import OpenFile
from pypimirror.system import regular

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: Most bytes that are read, hashed and sent at once.
PIECE = 1 << 20

#: Bytes that are held back at the end.
HELD_BACK = 64 * 1024

#: Seconds without a byte after which one is sent.
PAUSE = 5.0

#: Seconds between two checks whether a part has grown: first and longest. The fetcher reports it
#: only now and then. A check costs one `stat`.
SOONEST, LATEST = 0.004, 0.25

#: Algorithms that prove nothing, because somebody can make other bytes with the same digest.
_WEAK = ("md5", "sha1")


class StreamedResponse(Response):
    """An answer whose headers go out before its first bytes are there."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Send the headers, and return the rest."""
        body, status, headers = self.get_wsgi_response(environ)
        start_response(status, headers)(b"")
        return body


def proving(coming: Coming) -> str | None:
    """Return the strongest algorithm whose claim proves a file; None if there is none."""
    usable = coming.digests.keys() & hashlib.algorithms_available - set(_WEAK)
    return next((name for name in ALGORITHMS if name in usable), None)


class StreamedBody:
    """The bytes of a file that is arriving. `opened` opens it when it is here."""

    def __init__(
        self, question: Question, coming: Coming, opened: Callable[[Here], OpenFile | None]
    ) -> None:
        algorithm = proving(coming)
        self._question = question
        self._size = coming.size
        self._claim = None if algorithm is None else coming.digests[algorithm].lower()
        self._digest = hashlib.new(algorithm or "sha256")
        self._most = math.inf if algorithm else 0  # bytes that may go out before it is here
        self._opened = opened
        self._held = HELD_BACK if coming.size is None else min(HELD_BACK, coming.size // 2 + 1)
        self._sent = 0
        self._heard = time.monotonic()  # when the client got something last
        self._pause = SOONEST
        self._part: FileIO | None = None
        self._path = ""

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bytes. Raises `ConnectionAbortedError`, which cuts the connection."""
        try:
            while (answer := self._question.answer) is None:
                yield from self._arrived()
            if not isinstance(answer, Here):
                raise _cut(answer.reason)
            yield from self._rest(answer)
        finally:
            if self._part is not None:
                self._part.close()

    def _arrived(self) -> Iterator[bytes]:
        """Yield some of the bytes that are here, or wait for more."""
        coming = self._question.coming
        assert coming is not None
        here = _received(coming) if self._size is None else min(_received(coming), self._size)
        if data := self._read(coming.path, int(min(here - self._held, self._most)) - self._sent):
            self._pause = SOONEST
            yield self._sending(data)
            return
        late = self._heard + PAUSE
        self._question.wait(min(late, time.monotonic() + self._pause))
        self._pause = min(2 * self._pause, LATEST)
        if self._question.answer is None and time.monotonic() >= late:
            if (spare := here - self._sent) > 1:  # slow bytes are fewer than those held back
                self._held = max(1, min(self._held, spare) - 1)
                self._most = max(self._most, self._sent + 1)
            self._heard = time.monotonic()

    def _read(self, path: str, most: int) -> bytes:
        """Return the next bytes of the part; none if there are none yet, or it was moved."""
        if most <= 0:
            return b""
        most = min(most, PIECE)
        if self._part is not None:
            if self._path == path and (data := os.pread(self._part.fileno(), most, self._sent)):
                return data
            self._part.close()  # another part is coming, perhaps with the same name
        try:
            self._path, self._part = path, FileIO(regular.open_file(path)[0], "rb")
        except FileNotFoundError:
            self._part = None
            return b""
        return os.pread(self._part.fileno(), most, self._sent)

    def _sending(self, data: bytes) -> bytes:
        gevent.sleep(0)  # other connections continue
        self._digest.update(data)
        self._sent += len(data)
        self._heard = time.monotonic()
        return data

    def _rest(self, here: Here) -> Iterator[bytes]:
        """Yield the rest of a complete file; its last bytes only if all bytes are right."""
        file = self._opened(here)
        if file is not None:
            with file.handle as handle:
                yield from self._end(handle, file.size)
        elif self._part is not None and self._claim is not None:  # it was moved meanwhile
            yield from self._end(self._part, os.fstat(self._part.fileno()).st_size)
        else:
            raise _cut("it was just removed")

    def _end(self, handle: IO[bytes], size: int) -> Iterator[bytes]:
        if self._sent > size or self._size not in (None, size):
            raise _cut(f"it has {size} bytes")
        handle.seek(0 if self._claim is None else self._sent)
        if self._claim is None and self._begins_otherwise(handle):
            raise _cut("it begins with other bytes than those that were sent")
        kept = min(self._held, size - self._sent)
        while left := size - kept - self._sent:
            yield self._sending(_some(handle, min(left, PIECE)))
        last = _exactly(handle, kept)
        self._digest.update(last)
        if self._claim not in (None, self._digest.hexdigest()):
            raise _cut("the bytes that were sent do not have the claimed digest")
        yield last

    def _begins_otherwise(self, handle: IO[bytes]) -> bool:
        """Read as many bytes as were sent; return whether they are others."""
        return hashlib.sha256(_exactly(handle, self._sent)).digest() != self._digest.digest()


def _received(coming: Coming) -> int:
    """Return how many bytes have arrived. The fetcher reports that only now and then."""
    try:
        return Path(coming.path).stat().st_size
    except OSError:
        return coming.received


def _some(handle: IO[bytes], most: int) -> bytes:
    if not (data := handle.read(most)):
        raise _cut("it ended too early")
    return data


def _exactly(handle: IO[bytes], size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += _some(handle, size - len(data))
    return data


def _cut(why: str) -> ConnectionAbortedError:
    return ConnectionAbortedError(errno.ECONNABORTED, f"an answer was cut: {why}")
