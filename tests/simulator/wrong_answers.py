"""Faults in the contents of answers: wrong ranges, conditions, other answers.

Each changes the answer, and does not send it; `faults` has the base class and faults of sending.
"""

from __future__ import annotations

import gzip
import itertools
import zlib
from dataclasses import dataclass, field, replace

from tests.simulator.faults import Fault
from tests.simulator.index import Buffer
from tests.simulator.wire import Answer, Exchange

# Ranges and conditions


@dataclass
class WrongRange(Fault):
    """Answer 206 with other bytes than requested, and say so in Content-Range.

    With `silent`, Content-Range names the requested range, but the bytes are others.
    """

    shift: int = 1  #: bytes forwards, or backwards if negative
    silent: bool = False

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        file = exchange.full_body
        asked = exchange.request.headers.get("range", "bytes=0-")
        first = int(asked.removeprefix("bytes=").partition("-")[0] or 0)
        start = max(0, first + self.shift)
        body = file[start:]
        told = first if self.silent else start
        if self.silent:
            body = bytes(body[: len(file) - first]).ljust(len(file) - first, b"x")
        span = f"bytes {told}-{told + len(body) - 1}/{len(file)}"
        return Answer(206, answer.headers | {"Content-Range": span}, body)


@dataclass
class OtherFile(Fault):
    """Send another file's bytes with its ETag; if a range was requested, the same range of it."""

    content: bytes
    etag: str | None = None

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        headers = dict(answer.headers)
        if self.etag is not None:
            headers["ETag"] = self.etag
        body: Buffer = self.content
        if answer.status == 206:
            first = int(headers["Content-Range"].split()[1].partition("-")[0])
            body = self.content[first:]
            span = f"bytes {first}-{len(self.content) - 1}/{len(self.content)}"
            headers["Content-Range"] = span
        return replace(answer, headers=headers, body=body)


@dataclass
class NotModified(Fault):
    """Answer 304, even without a condition."""

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        kept = {k: v for k, v in answer.headers.items() if k in ("ETag", "Last-Modified")}
        return Answer(304, kept)


@dataclass
class IgnoreRange(Fault):
    """Send the whole file with 200, whatever range was requested."""

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        headers = {k: v for k, v in answer.headers.items() if k != "Content-Range"}
        return Answer(200, headers, exchange.full_body)


# Other answers


@dataclass
class Redirect(Fault):
    """Redirect to any address, of any scheme, also relative; None: without an address."""

    to: str | None
    status: int = 302

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        headers = {} if self.to is None else {"Location": self.to}
        return Answer(self.status, headers)


@dataclass
class RedirectLoop(Fault):
    """Redirect to itself; with `changing`, to a new address each time (set it on a glob)."""

    changing: bool = False
    status: int = 302
    counter: itertools.count[int] = field(default_factory=itertools.count)

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        path = exchange.request.target.partition("?")[0]
        query = f"?hop={next(self.counter)}" if self.changing else ""
        return Answer(self.status, {"Location": path + query})


@dataclass
class Status(Fault):
    """Answer with a status code, and with Retry-After (seconds or a date) if given."""

    status: int = 503
    retry_after: int | float | str | None = None
    body: bytes = b"no"

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        headers = {"Content-Type": "text/plain"}
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        return Answer(self.status, headers, self.body)


@dataclass
class Locked(Fault):
    """Answer 401 to requests without this Authorization, which a test may change."""

    authorization: str

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        if exchange.request.headers.get("authorization") == self.authorization:
            return answer
        return Answer(401, {"WWW-Authenticate": 'Basic realm="index"'}, b"no")


@dataclass
class HtmlError(Fault):
    """Send an error page for people, with 200."""

    body: bytes = b"<!DOCTYPE html><html><body><h1>Something went wrong</h1></body></html>"
    content_type: str = "text/html; charset=utf-8"

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        return Answer(200, {"Content-Type": self.content_type}, self.body)


@dataclass
class Replace(Fault):
    """Send another body; everything else stays."""

    body: bytes

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        return replace(answer, body=self.body)


@dataclass
class Corrupt(Fault):
    """Flip one byte of the body; negative positions count from the end."""

    at: int = -1

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        body = bytearray(answer.body)
        if body:
            body[self.at] ^= 0xFF
        return replace(answer, body=bytes(body))


@dataclass
class SetHeaders(Fault):
    """Set headers, or remove them with None."""

    headers: dict[str, str | None]

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        merged = answer.headers | self.headers
        return replace(answer, headers={k: v for k, v in merged.items() if v is not None})


@dataclass
class Encoded(Fault):
    """Send the body in gzip or deflate, even unasked; with `broken`, it cannot be unpacked."""

    encoding: str = "gzip"
    broken: bool = False

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        pack = gzip.compress if self.encoding == "gzip" else zlib.compress
        body = pack(bytes(answer.body))
        if self.broken:
            body = body[: len(body) // 2] + b"\0" * 20
        return replace(
            answer, headers=answer.headers | {"Content-Encoding": self.encoding}, body=body
        )


@dataclass
class GzipBomb(Fault):
    """Send a small body that unpacks to a huge one, with Content-Encoding: gzip."""

    size: int = 1 << 30  #: bytes when unpacked
    filling: bytes = b" "

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        block = self.filling * (1 << 20)
        parts = [packer.compress(block) for _ in range(self.size // len(block))]
        body = b"".join([*parts, packer.flush()])
        return replace(answer, headers=answer.headers | {"Content-Encoding": "gzip"}, body=body)
