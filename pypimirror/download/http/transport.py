"""The HTTP transport: a `requests` adapter on gevent sockets, with connections kept alive.

The stock adapter of requests costs eight times as much for a small file;
docs/decisions/0004-our-own-transport.md has the figures. This adapter sends only what a mirror
needs: GET and HEAD, over verified TLS.

The rules:

* If a kept connection turns out to be closed, it is replaced once, unnoticed by the caller.
* A kept connection with unasked bytes is never used again.
* RFC 9112 says where an answer ends. An answer that breaks its rules is refused.
* A connection is used for one `Line` only: origin, proxy, CA certificates, and whether the host may
  be asked at public addresses only.

`client` and `fetch` decide about hosts, redirects, logins and retries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from requests.adapters import BaseAdapter
from requests.models import PreparedRequest, Response
from requests.utils import select_proxy

from pypimirror.domain.addresses import basic, parse_proxy
from pypimirror.domain.model import Reason
from pypimirror.download.failure import FetchError, bad_response
from pypimirror.download.http.body import Body, ChunkedBody, EmptyBody, LengthBody, UntilCloseBody
from pypimirror.download.http.connection import Connection, Head, Line
from pypimirror.download.http.hosts import Address, parse_url
from pypimirror.download.http.opening import Opener
from pypimirror.download.http.tunnel import wants_login

MAX_LENGTH_DIGITS = 18


class Request(PreparedRequest):
    """A GET or HEAD that is already checked, which saves most of what preparing one costs."""

    def __init__(
        self,
        address: Address,
        headers: dict[str, str],
        *,
        line: Line,
        method: str = "GET",
    ) -> None:
        super().__init__()
        self.method = method
        self.url = address.url
        self.headers = headers  # type: ignore[assignment]  # a dict will do, and is cheaper
        self.address = address
        self.line = line


class Answer(Response):
    """The answer to a request.

    The constructor of `Response` sets attributes that the engine never reads, such as cookies. That
    takes a fifth of the time for a small file, so they are set when somebody reads one.
    """

    raw: Any

    def __init__(self, head: Head, headers: Headers, raw: Any, request: PreparedRequest) -> None:
        self.status_code = head.status
        self.reason = head.reason
        self.headers = headers  # type: ignore[assignment]  # nobody changes it
        self.raw = raw
        self.url = request.url or ""
        self.request = request

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of `Response` that is not set yet, and set all of them."""
        made = vars(Response())
        if name not in made:
            raise AttributeError(name)
        vars(self).update((key, made[key]) for key in made.keys() - vars(self).keys())
        return made[name]


class Headers(Mapping[str, str]):
    """The headers of an answer. Names have any case; values of equal names are joined by commas.

    The class of requests is slower: it calls two methods to set each header, and raises an error
    for each missing one.
    """

    __slots__ = ("_said",)

    def __init__(self, headers: list[tuple[str, str]]) -> None:
        said: dict[str, tuple[str, str]] = {}  # by the name in lower case
        for name, value in headers:
            key = name.lower()
            said[key] = (name, f"{said[key][1]}, {value}" if key in said else value)
        self._said = said

    def __getitem__(self, name: str) -> str:
        return self._said[name.lower()][1]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._said.values())

    def __len__(self) -> int:
        return len(self._said)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a header, or `default`."""
        found = self._said.get(name.lower())
        return default if found is None else found[1]


class Transport(BaseAdapter):
    """A `requests` adapter on gevent sockets.

    `timeout` in seconds bounds connecting, waiting for the head of an answer, and each pause in
    a body. At most `keep` idle connections are kept. Raises `FetchError`.
    """

    def __init__(self, *, timeout: float, keep: int = 64) -> None:
        super().__init__()
        self.timeout = timeout
        self._keep = keep
        self._opener = Opener(timeout)
        self._idle: dict[Line, list[Connection]] = {}
        self._idle_count = 0

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,  # noqa: ARG002 - the transport has one for all
        verify: Any = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> Response:
        """Send `request` and return the answer with its body unread, unless `stream` is false."""
        if request.method not in ("GET", "HEAD") or request.body or cert or verify is False:
            what = "Only GET and HEAD are sent, without a body, over TLS that is verified."
            raise FetchError(Reason.INTERNAL, what)
        line = getattr(request, "line", None) or _line(request, verify, proxies)
        response = self._exchange(request, line)
        if not stream:
            _ = response.content
        return response

    def close(self) -> None:
        """Close all idle connections."""
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()
        self._idle_count = 0

    def _exchange(self, request: PreparedRequest, line: Line) -> Answer:
        address = getattr(request, "address", None) or parse_url(request.url or "")
        data = _request_bytes(address, request.headers, request.method or "GET", line)
        connection = self._take(line)
        if connection is not None:
            try:
                connection.send(data)
                head = connection.read_head()
            except FetchError as error:
                connection.close()
                # Closed while idle, or with unasked bytes: not the fault of this request.
                if error.reason not in (Reason.CONNECTION, Reason.BAD_RESPONSE):
                    raise
                connection = None
            except BaseException:
                connection.close()
                raise
        if connection is None:
            connection = self._open(line)
            try:
                connection.send(data)
                head = connection.read_head()
            except BaseException:
                connection.close()
                raise
        headers = Headers(head.headers)
        try:
            if line.is_asked_of_proxy and head.status == 407 and line.proxy is not None:
                raise wants_login(line.proxy)
            if request.method == "HEAD":  # the answer has a length but no body
                body: Body = EmptyBody(connection, self._finished)
            else:
                body = self._body(connection, head, headers)
        except BaseException:
            connection.close()
            raise
        return Answer(head, headers, body, request)

    def _open(self, line: Line) -> Connection:
        return self._opener.open(line)

    def _take(self, line: Line) -> Connection | None:
        """Return a kept connection that is still good."""
        idle = self._idle.get(line)
        while idle:
            connection = idle.pop()
            self._idle_count -= 1
            if connection.is_idle():
                return connection
            connection.close()
        return None

    def _finished(self, connection: Connection, reusable: bool) -> None:
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

    def _body(self, connection: Connection, head: Head, headers: Headers) -> Body:
        """Return the body, framed as RFC 9112, 6.3 says."""
        length: str | None = headers.get("content-length")
        coding: str | None = headers.get("transfer-encoding")
        give_back = self._finished
        if not _keeps_alive(head.version, headers.get("connection", "")):
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


def _keeps_alive(version: str, options: str) -> bool:
    """Whether a connection stays open, by the HTTP version and the Connection header."""
    if not options:
        return version == "1.1"
    named = {option.strip(" \t") for option in options.lower().split(",")}
    return "close" not in named and (version == "1.1" or "keep-alive" in named)


def _close(connection: Connection, reusable: bool) -> None:  # noqa: ARG001
    connection.close()


def _line(request: PreparedRequest, verify: Any, proxies: Mapping[str, str] | None) -> Line:
    """Return the line for a request that requests itself has made."""
    proxy = select_proxy(request.url or "", proxies)
    return Line(
        parse_url(request.url or "").origin,
        proxy=parse_proxy(proxy) if proxy else None,
        ca_file=verify if isinstance(verify, str) else "",
    )


def _request_bytes(address: Address, headers: Mapping[str, str], method: str, line: Line) -> bytes:
    target = address.url if line.is_asked_of_proxy else address.target
    first = f"{method} {target} HTTP/1.1"
    _check_line(first)
    return f"{first}{_fields(line, tuple(headers.items()))}".encode("latin-1")


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
