"""The HTTP transport: requests and answers over gevent sockets, with connections kept alive.

The stock adapter of requests costs eight times as much for a small file;
docs/decisions/0004-our-own-transport.md has the figures. This transport sends only what a mirror
needs: GET and HEAD, over verified TLS. `adapter` offers it to requests. The engine itself does not
import requests, which takes nearly as long as all else in the start of a worker.

The rules:

* If a kept connection turns out to be closed, it is replaced once, unnoticed by the caller.
* A kept connection with unasked bytes is never used again.
* RFC 9112 says where an answer ends. An answer that breaks its rules is refused.
* A connection is used for one `Line` only: origin, proxy, CA certificates, and whether the host may
  be asked at public addresses only.

`client` and `fetch` decide about hosts, redirects, logins and retries.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import gevent

from pypimirror.domain.addresses import basic
from pypimirror.domain.model import Reason
from pypimirror.download.failure import FetchError, bad_response
from pypimirror.download.http.body import (
    Body,
    ChunkedBody,
    EmptyBody,
    LengthBody,
    Raw,
    UntilCloseBody,
)
from pypimirror.download.http.connection import (
    MAX_LENGTH_DIGITS,
    Head,
    Headers,
    HttpConnection,
    Line,
)
from pypimirror.download.http.hosts import Address
from pypimirror.download.http.opening import Opener
from pypimirror.download.http.tunnel import wants_login


class Request(NamedTuple):
    """A GET or HEAD to an address that may be asked."""

    address: Address
    line: Line
    headers: tuple[tuple[str, str], ...]
    method: str = "GET"


class Answer:
    """The answer to a request, with its body unread."""

    __slots__ = ("headers", "raw", "reason", "status_code", "url")

    def __init__(self, status_code: int, reason: str, headers: Headers, raw: Raw, url: str) -> None:
        self.status_code = status_code
        self.reason = reason
        self.headers = headers
        self.raw = raw
        self.url = url


class Transport:
    """Asks origins, and keeps connections to them.

    `timeout` in seconds bounds connecting, waiting for the head of an answer, and each pause in
    a body. At most `keep` idle connections are kept.
    """

    def __init__(self, *, timeout: float, keep: int = 64) -> None:
        self.timeout = timeout
        self._keep = keep
        self._opener = Opener(timeout)
        self.trust = self._opener.trust
        self._idle: dict[Line, list[HttpConnection]] = {}
        self._idle_count = 0

    def send(self, request: Request) -> Answer:
        """Send a request and return the answer with its body unread. Raises `FetchError`."""
        line = request.line
        data = _request_bytes(request)
        connection = self._take(line)
        if connection is not None:
            try:
                head = _exchange(connection, data)
            except FetchError as error:
                # Closed while idle, or with unasked bytes: not the fault of this request.
                if error.reason not in (Reason.CONNECTION, Reason.BAD_RESPONSE):
                    raise
                connection = None
        if connection is None:
            connection = self._opener.open(line)
            head = _exchange(connection, data)
        try:
            if head.status == 407 and line.is_asked_of_proxy and line.proxy is not None:
                raise wants_login(line.proxy)
            if request.method == "HEAD":  # the answer has a length but no body
                body: Body = EmptyBody(connection, self._finished)
            else:
                body = self._body(connection, head)
        except BaseException:
            connection.close()
            raise
        return Answer(head.status, head.reason, head.headers, body, request.address.url)

    def close(self) -> None:
        """Close all idle connections."""
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()
        self._idle_count = 0

    def _take(self, line: Line) -> HttpConnection | None:
        """Return a kept connection that is still good."""
        idle = self._idle.get(line)
        while idle:
            connection = idle.pop()
            self._idle_count -= 1
            if connection.is_idle():
                return connection
            connection.close()
        return None

    def _finished(self, connection: HttpConnection, reusable: bool) -> None:
        if not reusable:
            connection.close()
            return
        if self._idle_count >= self._keep:
            self._drop_oldest()
        self._idle.setdefault(connection.line, []).append(connection)
        self._idle_count += 1

    def _drop_oldest(self) -> None:
        for key, connections in list(self._idle.items()):
            if connections:
                connections.pop(0).close()
                self._idle_count -= 1
                return
            del self._idle[key]

    def _body(self, connection: HttpConnection, head: Head) -> Body:
        """Return the body, framed as RFC 9112, 6.3 says."""
        length: str | None = head.headers.get("content-length")
        coding: str | None = head.headers.get("transfer-encoding")
        give_back = self._finished
        if not _keeps_alive(head.version, head.headers.get("connection", "")):
            give_back = _close
        if head.status in (204, 304):
            return EmptyBody(connection, give_back)
        if coding is not None:
            if coding.strip(" \t").lower() != "chunked" or length is not None:
                raise bad_response(
                    f"{connection.origin} sent a body with the transfer coding {coding[:40]!r}"
                    f"{' and a length' if length is not None else ''}."
                )
            return ChunkedBody(connection, give_back)
        if length is None:
            return UntilCloseBody(connection, give_back)
        if not (length.isascii() and length.isdigit()) or len(length) > MAX_LENGTH_DIGITS:
            raise bad_response(f"{connection.origin} sent the Content-Length {length[:40]!r}.")
        return LengthBody(connection, give_back, int(length))


def _exchange(connection: HttpConnection, data: bytes) -> Head:
    """Send a request and read the head of its answer. A failed connection is closed."""
    try:
        connection.send(data)
        # Others send their requests first. Then the answer is often there, and nobody waits for it.
        gevent.sleep(0)
        return connection.read_head()
    except BaseException:
        connection.close()
        raise


@lru_cache(maxsize=64)  # few different ones
def _keeps_alive(version: str, options: str) -> bool:
    """Whether a connection stays open, by the HTTP version and the Connection header."""
    if not options:
        return version == "1.1"
    named = {option.strip(" \t") for option in options.lower().split(",")}
    return "close" not in named and (version == "1.1" or "keep-alive" in named)


def _close(connection: HttpConnection, reusable: bool) -> None:  # noqa: ARG001
    connection.close()


def _request_bytes(request: Request) -> bytes:
    address, line, headers, method = request
    target = address.url if line.is_asked_of_proxy else address.target
    first = f"{method} {target} HTTP/1.1"
    _check_line(first)
    return f"{first}{_fields(line, headers)}".encode("latin-1")


@lru_cache(maxsize=64)  # nearly all requests have the same
def _fields(line: Line, headers: tuple[tuple[str, str], ...]) -> str:
    fields = [f"Host: {line.origin.authority}"]
    if line.is_asked_of_proxy and line.proxy is not None and line.proxy.login:
        fields.append(f"Proxy-Authorization: {basic(*line.proxy.login)}")
    fields += [f"{name}: {value}" for name, value in headers]
    for field in fields:
        _check_line(field)
    return "\r\n".join(["", *fields, "", ""])


def _check_line(line: str) -> None:
    if "\n" in line or "\r" in line:
        raise FetchError(Reason.INTERNAL, "A header of the request has more than one line.")
