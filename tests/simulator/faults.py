"""Faults of the transport, one class for each.

A fault may act before the answer is made (`before`), change the answer (`change`), or send it in
its own way (`send`). Faults on one request are applied in the order in which they were set; the
first that sends in its own way is the one that sends.

Refusing to connect concerns a whole server: see `Simulator.refuse`.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field, replace

from tests.simulator.index import Buffer
from tests.simulator.wire import Answer, Exchange


class Fault:
    """Base of all faults: changes nothing."""

    sends = False  #: whether `send` is its own

    def __init_subclass__(cls) -> None:
        cls.sends = cls.send is not Fault.send

    def before(self, exchange: Exchange) -> None:
        """Act before the answer is made."""

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        """Return another answer."""
        return answer

    def send(self, answer: Answer, exchange: Exchange) -> None:
        """Send the answer."""
        exchange.send(answer)


# Time and connections


@dataclass
class Latency(Fault):
    """Delay the answer."""

    seconds: float

    def before(self, exchange: Exchange) -> None:
        exchange.pause(self.seconds)


@dataclass
class Hold(Fault):
    """Hold the answer until `release`; with `after`, hold it after that many bytes of its body."""

    after: int | None = None
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.sends = self.after is not None

    def wait_reached(self, timeout: float = 30) -> None:
        """Wait until a request is being held."""
        if not self.reached.wait(timeout):
            raise TimeoutError("no request has reached the hold")

    def release(self) -> None:
        """Let all held requests go on, and all later ones pass."""
        self.released.set()

    def _wait(self, exchange: Exchange) -> None:
        self.reached.set()
        self.released.wait()
        if exchange.server.closing.is_set():
            exchange.disconnect()

    def before(self, exchange: Exchange) -> None:
        if self.after is None:
            self._wait(exchange)

    def send(self, answer: Answer, exchange: Exchange) -> None:
        if self.after is None:
            exchange.send(answer)
            return
        exchange.write_head(answer)
        exchange.write(answer.body[: self.after])
        self._wait(exchange)
        exchange.write(answer.body[self.after :])


@dataclass
class Reset(Fault):
    """Reset the connection: before the answer, or after that many bytes of the body."""

    after: int | None = None

    def send(self, answer: Answer, exchange: Exchange) -> None:
        if self.after is not None:
            exchange.write_head(answer)
            exchange.write(answer.body[: self.after])
        exchange.disconnect(reset=True)


@dataclass
class Hangup(Fault):
    """Close the connection in order, without an answer."""

    def before(self, exchange: Exchange) -> None:
        exchange.disconnect()


@dataclass
class Stall(Fault):
    """Send nothing more: before the answer, or after that many bytes of the body.

    After `seconds`, continue; without it, never. It ends when the simulator closes or the client
    goes away.
    """

    after: int | None = None
    seconds: float | None = None

    def send(self, answer: Answer, exchange: Exchange) -> None:
        if self.after is None:
            exchange.pause(self.seconds)
            exchange.send(answer)
            return
        exchange.write_head(answer)
        exchange.write(answer.body[: self.after])
        exchange.pause(self.seconds)
        exchange.write(answer.body[self.after :])


@dataclass
class Drip(Fault):
    """Send the body a little at a time."""

    size: int = 1
    interval: float = 0.1  #: seconds

    def send(self, answer: Answer, exchange: Exchange) -> None:
        exchange.write_head(answer)
        for start in range(0, len(answer.body), self.size):
            exchange.write(answer.body[start : start + self.size])
            exchange.pause(self.interval)


@dataclass
class CloseIdle(Fault):
    """Answer correctly, promise to keep the connection, and close it.

    With `on_reuse`, close it when the next request has come, without an answer to that.
    """

    on_reuse: bool = False

    def send(self, answer: Answer, exchange: Exchange) -> None:
        exchange.send(answer)
        if self.on_reuse:
            exchange.doom_next = True
        else:
            exchange.keep_alive = False


# Length of the body


@dataclass
class Truncate(Fault):
    """Send fewer bytes than announced, at least one too few, then close."""

    at: int = 100

    def send(self, answer: Answer, exchange: Exchange) -> None:
        exchange.write_head(answer)
        exchange.write(answer.body[: min(self.at, len(answer.body) - 1)])
        exchange.disconnect()


@dataclass
class Longer(Fault):
    """Send more than Content-Length announced, on a connection that stays open."""

    extra: bytes = b"x" * 100

    def send(self, answer: Answer, exchange: Exchange) -> None:
        exchange.send(answer)
        exchange.write(self.extra)


@dataclass
class Padded(Fault):
    """Send more bytes than the file has, with a matching Content-Length."""

    extra: bytes = b"x" * 100

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        return replace(answer, body=bytes(answer.body) + self.extra)


@dataclass
class MissingLength(Fault):
    """Send no Content-Length; the end of the connection is the end of the body.

    With `at`, the body ends there, and nothing shows that it is cut.
    """

    at: int | None = None

    def send(self, answer: Answer, exchange: Exchange) -> None:
        headers = {k: v for k, v in answer.headers.items() if k != "Content-Length"}
        exchange.write_head(replace(answer, headers=headers | {"Connection": "close"}))
        exchange.write(answer.body[: self.at])
        exchange.disconnect()


@dataclass
class LyingLength(Fault):
    """Send a wrong Content-Length; it may even be no number."""

    length: int | str

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        return replace(answer, headers=answer.headers | {"Content-Length": str(self.length)})

    def send(self, answer: Answer, exchange: Exchange) -> None:
        exchange.send(answer)
        exchange.disconnect()


@dataclass
class Chunked(Fault):
    """Send the body in chunks, as HTTP allows; with `bad`, with an invalid chunk size.

    With `cut`, the last chunk is missing.
    """

    size: int = 1000
    bad: bool = False
    cut: bool = False

    def send(self, answer: Answer, exchange: Exchange) -> None:
        write_chunked_head(answer, exchange)
        for start in range(0, len(answer.body), self.size):
            exchange.write(chunk(answer.body[start : start + self.size]))
        if self.bad:
            exchange.write(b"not a number\r\n")
        if self.bad or self.cut:
            exchange.disconnect()
        exchange.write(b"0\r\n\r\n")


@dataclass
class EndlessChunked(Fault):
    """Send chunks without end: the body first, if `body`, then filler until the client leaves."""

    filling: bytes = b"x" * 65536
    body: bool = False
    interval: float = 0.0  #: seconds between chunks

    def send(self, answer: Answer, exchange: Exchange) -> None:
        write_chunked_head(answer, exchange)
        if self.body:
            exchange.write(chunk(answer.body))
        while True:
            exchange.write(chunk(self.filling))
            if self.interval:
                exchange.pause(self.interval)


def write_chunked_head(answer: Answer, exchange: Exchange) -> None:
    """Send the head of a chunked answer."""
    headers = {k: v for k, v in answer.headers.items() if k != "Content-Length"}
    exchange.write_head(replace(answer, headers=headers | {"Transfer-Encoding": "chunked"}))


def chunk(data: Buffer) -> bytes:
    """One chunk."""
    return b"%x\r\n%b\r\n" % (len(data), bytes(data))


# Not quite HTTP


@dataclass
class HeaderFlood(Fault):
    """Send too many headers: `count` of them, each of `size` bytes; None means without end."""

    count: int | None = 100_000
    size: int = 100

    def send(self, answer: Answer, exchange: Exchange) -> None:
        exchange.request.status = answer.status
        head = answer.head()
        exchange.sock.sendall(head[:-2])
        numbers = itertools.count() if self.count is None else range(self.count)
        for number in numbers:
            exchange.sock.sendall(b"X-Flood-%d: %b\r\n" % (number, b"x" * self.size))
        exchange.sock.sendall(b"\r\n")
        exchange.write(answer.body)


@dataclass
class Raw(Fault):
    """Send any bytes in place of an answer, then close: for example an invalid status line."""

    data: bytes = b"\x15\x03\x01 this is not HTTP\r\n\r\n"

    def send(self, answer: Answer, exchange: Exchange) -> None:
        exchange.sock.sendall(self.data)
        exchange.disconnect()
