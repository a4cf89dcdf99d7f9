"""The HTTP transport: a `requests` adapter on gevent sockets, with connections kept alive.

Stock requests over urllib3 costs about five times as much for a small file. What is rare (a
proxy, a method other than GET, a request with a body) goes through the stock adapter.

What it keeps to:

* a connection that was kept and turns out to be closed is replaced once, unseen by the caller;
* a kept connection on which anything came in unasked is never used again;
* an answer is framed by the rules of RFC 9112, and what breaks them is refused;
* connections to hosts that may be asked at public addresses only are kept apart from others.

It decides nothing about hosts, redirects, logins or retries: see `client` and `fetch`.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import requests
from gevent.ssl import SSLContext, create_default_context
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.cookies import RequestsCookieJar
from requests.models import PreparedRequest, Response
from requests.structures import CaseInsensitiveDict

from pypimirror.download.authorities import authorities, trusted
from pypimirror.download.body import (
    Body,
    ChunkedBody,
    EmptyBody,
    LengthBody,
    UntilCloseBody,
)
from pypimirror.download.connection import Connection, Head, Resolver
from pypimirror.download.failure import Again, FetchError, bad_response
from pypimirror.download.hosts import Address, Origin, parse_url
from pypimirror.model import Reason

MAX_LENGTH_DIGITS = 18


class Request(PreparedRequest):
    """A GET or HEAD that is already checked, which saves most of what preparing one costs."""

    def __init__(
        self,
        address: Address,
        headers: dict[str, str],
        *,
        public_only: bool,
        method: str = "GET",
    ) -> None:
        self.method = method
        self.url = address.url
        self.headers = headers  # type: ignore[assignment]  # a dict will do, and is cheaper
        self.body = None
        self.hooks = {}
        self._cookies = None
        self._body_position = None
        self.address = address
        self.public_only = public_only


_NO_COOKIES = RequestsCookieJar()  # shared: a mirror keeps none


class Answer(Response):
    """A `requests.Response` that is cheap to make: stock makes a cookie jar for each."""

    raw: Any

    def __init__(self, head: Head, headers: Headers, raw: Any, request: PreparedRequest) -> None:
        self._content = False  # type: ignore[assignment]  # how requests says: not read yet
        self._content_consumed = False
        self._next = None
        self.status_code = head.status
        self.reason = head.reason
        self.headers = headers
        self.raw = raw
        self.url = request.url or ""
        self.encoding = None
        self.history = []
        self.request = request
        self.cookies = _NO_COOKIES


class Headers(CaseInsensitiveDict[str]):
    """Headers as requests has them, made in one go: stock calls two methods for each of them."""

    def __init__(self, headers: list[tuple[str, str]]) -> None:
        store: dict[str, tuple[str, str]] = {}
        for name, value in headers:
            key = name.lower()
            store[key] = (name, f"{store[key][1]}, {value}" if key in store else value)
        self._store = store

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value; stock asks by way of an error for each that is not there."""
        found = self._store.get(name.lower())
        return default if found is None else found[1]

    def copy(self) -> CaseInsensitiveDict[str]:
        """Return a copy."""
        return CaseInsensitiveDict(self.items())


class Transport(BaseAdapter):
    """A `requests` adapter on gevent sockets.

    `timeout` in seconds bounds connecting, waiting for the head of an answer, and each pause in
    a body. At most `keep` idle connections are kept. Raises `FetchError`.
    """

    def __init__(self, *, timeout: float, keep: int = 64, tls: SSLContext | None = None) -> None:
        super().__init__()
        self.timeout = timeout
        self._keep = keep
        self._tls = tls
        self._resolver = Resolver()
        self._idle: dict[tuple[Origin, bool], list[Connection]] = {}
        self._idle_count = 0
        self._stock: HTTPAdapter | None = None
        self._finished = {each: self._give_back(public_only=each) for each in (False, True)}

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> Response:
        """Send `request` and return the answer with its body unread, unless `stream` is false."""
        if proxies or request.method not in ("GET", "HEAD") or request.body:
            return self._send_stock(request, stream, timeout, verify, cert, proxies)
        response = self._exchange(request)
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
        if self._stock is not None:
            self._stock.close()

    def _exchange(self, request: PreparedRequest) -> Answer:
        address = getattr(request, "address", None) or parse_url(request.url or "")
        public_only: bool = getattr(request, "public_only", False)
        data = _request_bytes(address, request.headers, request.method or "GET")
        connection = self._take(address.origin, public_only)
        if connection is not None:
            try:
                connection.send(data)
                head = connection.read_head()
            except FetchError as error:
                connection.close()
                # Closed while idle, or speaking out of turn: neither is this request's fault.
                if error.reason not in (Reason.CONNECTION, Reason.BAD_RESPONSE):
                    raise
                connection = None
            except BaseException:
                connection.close()
                raise
        if connection is None:
            connection = self._open(address.origin, public_only)
            try:
                connection.send(data)
                head = connection.read_head()
            except BaseException:
                connection.close()
                raise
        headers = Headers(head.headers)
        try:
            if request.method == "HEAD":  # its answer has a length and no body
                body: Body = EmptyBody(connection, self._finished[public_only])
            else:
                body = self._body(connection, head, headers, public_only)
        except BaseException:
            connection.close()
            raise
        return Answer(head, headers, body, request)

    def _open(self, origin: Origin, public_only: bool) -> Connection:
        if self._tls is None:
            self._tls = make_tls_context()
        return Connection.open(
            origin,
            public_only=public_only,
            timeout=self.timeout,
            resolver=self._resolver,
            tls=self._tls,
        )

    def _take(self, origin: Origin, public_only: bool) -> Connection | None:
        """Return a kept connection that is still good."""
        idle = self._idle.get((origin, public_only))
        while idle:
            connection = idle.pop()
            self._idle_count -= 1
            if connection.is_idle():
                return connection
            connection.close()
        return None

    def _give_back(self, *, public_only: bool) -> Callable[[Connection, bool], None]:
        def finished(connection: Connection, reusable: bool) -> None:
            if not reusable:
                connection.close()
                return
            if self._idle_count >= self._keep:
                self._drop_oldest()
            self._idle.setdefault((connection.origin, public_only), []).append(connection)
            self._idle_count += 1

        return finished

    def _drop_oldest(self) -> None:
        for key, connections in list(self._idle.items()):
            if connections:
                connections.pop(0).close()
                self._idle_count -= 1
                return
            del self._idle[key]

    def _body(
        self, connection: Connection, head: Head, headers: Headers, public_only: bool
    ) -> Body:
        """Return the body, framed as RFC 9112, 6.3 says."""
        length: str | None = headers.get("content-length")
        coding: str | None = headers.get("transfer-encoding")
        give_back = self._finished[public_only]
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

    def _send_stock(
        self,
        request: PreparedRequest,
        stream: bool,
        timeout: Any,
        verify: Any,
        cert: Any,
        proxies: Mapping[str, str] | None,
    ) -> Response:
        """Send through requests' own adapter, in its terms but with our errors."""
        if self._stock is None:
            self._stock = HTTPAdapter(pool_connections=16, pool_maxsize=self._keep)
        request.headers = CaseInsensitiveDict(request.headers)
        if verify is True:
            paths = ssl.get_default_verify_paths()
            verify = authorities() or paths.cafile or paths.capath or True
        try:
            response = self._stock.send(
                request,
                stream=True,
                timeout=timeout or self.timeout,
                verify=verify,
                cert=cert,
                proxies=proxies,
            )
        except (requests.RequestException, OSError) as error:
            raise stock_failure(error) from error
        if not stream:
            _ = response.content
        return response


class StockBody:
    """The body of an answer of the stock adapter, in pieces."""

    delimited = True

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.excess = False

    def next_piece(self) -> bytes:
        """Return the next bytes as they crossed the network, nothing at the end."""
        try:
            piece: bytes = self._raw.read(64 << 10, decode_content=False)
        except Exception as error:  # urllib3's and http.client's errors share no useful base
            self.close()
            raise stock_failure(error) from error
        if not piece:
            self._raw.release_conn()
        return piece

    def close(self) -> None:
        """Stop reading."""
        self._raw.close()


def stock_failure(error: Exception) -> FetchError:
    """Translate an error of requests, urllib3 or http.client."""
    name = type(error).__name__
    text = f"{name}: {error}"
    if isinstance(error, (requests.Timeout, TimeoutError)) or "Timeout" in name:
        return FetchError(Reason.TIMEOUT, f"No answer in time ({text}).", again=Again.ALWAYS)
    if "IncompleteRead" in text:
        return FetchError(Reason.TRUNCATED, f"The answer is cut off ({text}).", again=Again.ALWAYS)
    if isinstance(error, (requests.ConnectionError, OSError)) or "Protocol" in name:
        return FetchError(Reason.CONNECTION, f"No connection ({text}).", again=Again.ALWAYS)
    return bad_response(f"The answer breaks HTTP ({text}).")


def _keeps_alive(version: str, options: str) -> bool:
    """Whether a connection stays open, by the HTTP version and the Connection header."""
    if not options:
        return version == "1.1"
    named = {option.strip(" \t") for option in options.lower().split(",")}
    return "close" not in named and (version == "1.1" or "keep-alive" in named)


def _close(connection: Connection, reusable: bool) -> None:  # noqa: ARG001
    connection.close()


def _request_bytes(address: Address, headers: Mapping[str, str], method: str) -> bytes:
    first = f"{method} {address.target} HTTP/1.1"
    _check_line(first)
    return f"{first}{_fields(address.origin, tuple(headers.items()))}".encode("latin-1")


@lru_cache(maxsize=64)  # nearly all requests have the same
def _fields(origin: Origin, headers: tuple[tuple[str, str], ...]) -> str:
    lines = [f"Host: {origin.authority}", *(f"{name}: {value}" for name, value in headers)]
    for line in lines:
        _check_line(line)
    return "\r\n".join(["", *lines, "", ""])


def _check_line(line: str) -> None:
    if "\n" in line or "\r" in line:
        raise FetchError(Reason.INTERNAL, "A header of the request has more than one line.")


def make_tls_context() -> SSLContext:
    """Return a context that verifies certificates and names."""
    context = create_default_context(**trusted(authorities()))
    context.set_alpn_protocols(["http/1.1"])
    return context
