"""The web server's side of pages: asks the child process that makes them, and keeps its answers.

The child starts with the first request for a page. It answers one request at a time, and an answer
is used again for `FRESH` seconds. If it fails or is too slow, it is ended, and the next request
starts another one. If too many requests wait already, a new one is refused at once. The simple API
is not affected.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import math
import re
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import IO, NamedTuple

import msgspec
from werkzeug.wrappers import Request, Response

from pypimirror.serve.pages.messages import (
    FIRST,
    LONGEST,
    PageRequest,
    PageResponse,
    encode,
    read_answer,
)

#: Seconds for which an answer is used again.
FRESH = 30.0
#: Seconds that the child may take for an answer. It may take a tenth longer.
PATIENCE = 30.0
#: Requests that may wait for the child.
WAITING = 32
#: Bytes of kept answers.
KEPT = 16 * 1024 * 1024
#: Longest first line of an answer, in bytes.
_LINE = 8192

#: Names by which a client on this machine calls it.
_LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?", re.IGNORECASE)

#: No script, style or image from elsewhere, no frame around a page, no form to another server.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "X-Frame-Options": "DENY",
}

_BUSY = "Too many people look at these pages now. /simple/ is not affected. Try again soon.\n"
_FAILED = "This page cannot be made now. /simple/ is not affected. The server's log says why.\n"


class _Page(NamedTuple):
    answer: PageResponse
    body: bytes  #: compressed by gzip
    etag: str
    until: float  #: when it must be made again, by the monotonic clock


class PagesForPeople:
    """The pages of one server; `config` is the configuration file of its mirror."""

    def __init__(self, config: Path) -> None:
        self._command = [sys.executable, "-P", "-m", "pypimirror.serve.pages.program", str(config)]
        self._child: subprocess.Popen[bytes] | None = None
        self._asking = threading.Lock()  # gevent's, in the server
        self._late = math.inf  # when the child must have answered, by the monotonic clock
        self._waiting = 0
        self._kept: OrderedDict[PageRequest, _Page] = OrderedDict()
        self._size = 0

    def has(self, path: str) -> bool:
        """Whether a path, which begins with a slash, is the path of a page."""
        return path == "/" or path.split("/", 2)[1] in FIRST

    def respond(self, request: Request, path: str, root: str) -> Response:
        """Return the answer to a request for a page. `root` is the address of the mirror."""
        query = request.environ.get("QUERY_STRING", "")
        if len(path) + len(query) > LONGEST:
            return _text(414, "This address is too long for a page of this mirror.\n")
        asked = PageRequest(path, query, root, _is_local(request))
        page = self._kept.get(asked)
        if page is None or time.monotonic() >= page.until:
            if self._waiting >= WAITING:
                return _text(503, _BUSY)
            self._waiting += 1
            try:
                page = self._make(asked)
            finally:
                self._waiting -= 1
        if page is None:
            return _text(503, _FAILED)
        return _response(request, page)

    def close(self) -> None:
        """End the child process."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for stream in (child.stdin, child.stdout):
                with contextlib.suppress(OSError):
                    assert stream is not None
                    stream.close()

    def _make(self, asked: PageRequest) -> _Page | None:
        with self._asking:
            page = self._kept.get(asked)  # another request has asked for it in the meantime
            if page is not None and time.monotonic() < page.until:
                return page
            try:
                answer, body = self._ask(asked)
            except (OSError, ValueError, msgspec.MsgspecError) as error:
                print(f"pages: {asked.path!r}: {error}", file=sys.stderr)
                self.close()
                return None
            etag = hashlib.sha256(body).hexdigest()[:32]
            page = _Page(answer, body, etag, time.monotonic() + FRESH)
            if answer.status < 500:
                self._keep(asked, page)
            return page

    def _ask(self, asked: PageRequest) -> tuple[PageResponse, bytes]:
        """Ask the child. Raises `OSError` or `ValueError` if it does not answer properly."""
        if self._child is None or self._child.poll() is not None:
            self.close()
            pipe = subprocess.PIPE
            self._child = subprocess.Popen(self._command, stdin=pipe, stdout=pipe)
            threading.Thread(target=self._watch, args=(self._child,), daemon=True).start()
        child = self._child
        assert child.stdin is not None
        assert child.stdout is not None
        self._late = time.monotonic() + PATIENCE
        try:
            child.stdin.write(encode(asked) + b"\n")
            child.stdin.flush()
            line = child.stdout.readline(_LINE)
            if not line:
                raise OSError("the process that makes pages gave no answer")
            answer = read_answer(line)
            return answer, _exactly(child.stdout, answer.length)
        finally:
            self._late = math.inf

    def _watch(self, child: subprocess.Popen[bytes]) -> None:
        """End the child if it is late; then its output ends. A timer for each request costs more
        than all the rest of asking.
        """
        while child is self._child and child.poll() is None:
            time.sleep(PATIENCE / 10)
            if time.monotonic() > self._late:
                child.kill()

    def _keep(self, asked: PageRequest, page: _Page) -> None:
        if old := self._kept.pop(asked, None):
            self._size -= len(old.body)
        self._kept[asked] = page
        self._size += len(page.body)
        while self._size > KEPT or len(self._kept) > 4096:
            _, oldest = self._kept.popitem(last=False)
            self._size -= len(oldest.body)


def _exactly(stream: IO[bytes], length: int) -> bytes:
    body = stream.read(length)
    if len(body) != length:
        raise OSError("the answer of the process that makes pages is too short")
    return body


def _is_local(request: Request) -> bool:
    """Whether the client is on this machine, names it by a loopback name, and uses no proxy."""
    forwarded = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via")
    address = request.environ.get("REMOTE_ADDR", "")
    near = address.startswith(("127.", "::ffff:127.")) or address == "::1"
    # A name that leads to this machine may belong to somebody else's page.
    named = _LOOPBACK.fullmatch(request.environ.get("HTTP_HOST", ""))
    return near and bool(named) and not any(name in request.headers for name in forwarded)


def _response(request: Request, page: _Page) -> Response:
    answer = page.answer
    packed = request.accept_encodings["gzip"] > 0
    body = page.body if packed else gzip.decompress(page.body)
    response = Response(body, answer.status, HEADERS, content_type=answer.content_type)
    response.headers["Vary"] = "Accept-Encoding"
    if packed:
        response.headers["Content-Encoding"] = "gzip"
    if answer.location:
        response.headers["Location"] = answer.location
    if answer.status >= 500:
        response.headers["Retry-After"] = "30"
    # Pages have the address of the request in them, so no cache may share them.
    lasting, short = "public, max-age=31536000, immutable", f"private, max-age={FRESH:.0f}"
    response.headers["Cache-Control"] = lasting if answer.is_lasting else short
    if answer.status == 200:
        response.set_etag(f"{page.etag}-gzip" if packed else page.etag)
        response.make_conditional(request.environ)
    return response


def _text(status: int, message: str) -> Response:
    headers = HEADERS | {"Cache-Control": "no-store", "Retry-After": "10"}
    return Response(message, status, headers, content_type="text/plain; charset=utf-8")
