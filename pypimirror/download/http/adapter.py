"""The transport as an adapter for requests: `session.mount("https://", Adapter(timeout=30))`.

The engine itself asks through `transport`, and imports no requests. With this adapter, programs can
use the same transport through requests, and tests compare the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from requests.adapters import BaseAdapter
from requests.models import PreparedRequest, Response
from requests.structures import CaseInsensitiveDict
from requests.utils import select_proxy

from pypimirror.domain.addresses import parse_proxy
from pypimirror.domain.model import Reason
from pypimirror.download.failure import FetchError
from pypimirror.download.http.body import Raw
from pypimirror.download.http.connection import READ_SIZE, Line
from pypimirror.download.http.hosts import parse_url
from pypimirror.download.http.transport import Request, Transport


class Adapter(BaseAdapter):
    """An adapter for `requests.Session`. The arguments are those of `Transport`."""

    def __init__(self, *, timeout: float, keep: int = 64) -> None:
        super().__init__()
        self.transport = Transport(timeout=timeout, keep=keep)

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,  # noqa: ARG002 - the transport has one for all
        verify: Any = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> Response:
        """Send `request` and return the answer with its body unread, unless `stream` is false.

        Raises `FetchError`.
        """
        method, url = request.method or "GET", request.url or ""
        if method not in ("GET", "HEAD") or request.body or cert or verify is False:
            what = "Only GET and HEAD are sent, without a body, over TLS that is verified."
            raise FetchError(Reason.INTERNAL, what)
        address, proxy = parse_url(url), select_proxy(url, proxies)
        line = Line(
            address.origin,
            proxy=parse_proxy(proxy) if proxy else None,
            ca_file=verify if isinstance(verify, str) else "",
        )
        answer = self.transport.send(Request(address, line, tuple(request.headers.items()), method))
        response = Response()
        response.status_code, response.reason = answer.status_code, answer.reason
        response.headers = CaseInsensitiveDict(answer.headers)
        response.raw = BodyStream(answer.raw)
        response.url, response.request = answer.url, request
        if not stream:
            _ = response.content
        return response

    def close(self) -> None:
        """Close all idle connections."""
        self.transport.close()


class BodyStream:
    """A body as `requests.Response` reads it: as many bytes as it wants. Memory is not bounded."""

    def __init__(self, raw: Raw) -> None:
        self._raw = raw
        self._left = b""  # taken from the body, and not yet read

    def read(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:  # noqa: ARG002
        """Return up to `amt` bytes as they crossed the network; all for None."""
        parts = [self._left]
        size = len(self._left)
        while amt is None or size < amt:
            piece = self._raw.next_piece()
            if not piece:
                break
            parts.append(bytes(piece))
            size += len(piece)
        data = b"".join(parts)
        cut = size if amt is None else amt
        self._left = data[cut:]
        return data[:cut]

    def stream(self, amt: int = READ_SIZE, decode_content: bool | None = None) -> Iterator[bytes]:
        """Yield the body as it crossed the network."""
        while piece := self.read(amt, decode_content):
            yield piece

    def close(self) -> None:
        """Stop reading."""
        self._raw.close()

    release_conn = close
