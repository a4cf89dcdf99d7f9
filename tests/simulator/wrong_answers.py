"""Faults of what is said, rather than of how it is sent: ranges, conditions, other answers.

Each changes the answer and leaves the sending to others; see `faults` for those and for the base.
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
    """A 206 for other bytes than those asked for, and honest about it in Content-Range.

    With `silent`, Content-Range names what was asked for, and the bytes are others all the same.
    """

    shift: int = 1  #: bytes further on, or back
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
    """Another file's bytes: the same range of it where a range was asked for, with its ETag."""

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
    """304, asked or not."""

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        kept = {k: v for k, v in answer.headers.items() if k in ("ETag", "Last-Modified")}
        return Answer(304, kept)


@dataclass
class IgnoreRange(Fault):
    """The whole file with 200, whatever range was asked for."""

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        headers = {k: v for k, v in answer.headers.items() if k != "Content-Range"}
        return Answer(200, headers, exchange.full_body)


# Other answers


@dataclass
class Redirect(Fault):
    """To any address, of any scheme, also relative; None for a redirect that leads nowhere."""

    to: str | None
    status: int = 302

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        headers = {} if self.to is None else {"Location": self.to}
        return Answer(self.status, headers)


@dataclass
class RedirectLoop(Fault):
    """To itself; with `changing`, to an address that is new each time (set it on a glob)."""

    changing: bool = False
    status: int = 302
    counter: itertools.count[int] = field(default_factory=itertools.count)

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        path = exchange.request.target.partition("?")[0]
        query = f"?hop={next(self.counter)}" if self.changing else ""
        return Answer(self.status, {"Location": path + query})


@dataclass
class Status(Fault):
    """A status code, with Retry-After (seconds or a date) where given."""

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
    """401 to whoever does not send this Authorization; change it, and it is another's."""

    authorization: str

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        if exchange.request.headers.get("authorization") == self.authorization:
            return answer
        return Answer(401, {"WWW-Authenticate": 'Basic realm="index"'}, b"no")


@dataclass
class HtmlError(Fault):
    """An error page for people, with 200."""

    body: bytes = b"<!DOCTYPE html><html><body><h1>Something went wrong</h1></body></html>"
    content_type: str = "text/html; charset=utf-8"

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        return Answer(200, {"Content-Type": self.content_type}, self.body)


@dataclass
class Replace(Fault):
    """Another body, with everything else as it was."""

    body: bytes

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        return replace(answer, body=self.body)


@dataclass
class Corrupt(Fault):
    """One byte of the body flipped; negative positions count from the end."""

    at: int = -1

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        body = bytearray(answer.body)
        if body:
            body[self.at] ^= 0xFF
        return replace(answer, body=bytes(body))


@dataclass
class SetHeaders(Fault):
    """Headers set, or taken away with None."""

    headers: dict[str, str | None]

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        merged = answer.headers | self.headers
        return replace(answer, headers={k: v for k, v in merged.items() if v is not None})


@dataclass
class Encoded(Fault):
    """The body in gzip or deflate, whether asked for or not; with `broken`, it cannot be undone."""

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
    """A small body that unpacks to a huge one, as Content-Encoding: gzip."""

    size: int = 1 << 30  #: bytes when unpacked
    filling: bytes = b" "

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        block = self.filling * (1 << 20)
        parts = [packer.compress(block) for _ in range(self.size // len(block))]
        body = b"".join([*parts, packer.flush()])
        return replace(answer, headers=answer.headers | {"Content-Encoding": "gzip"}, body=body)
