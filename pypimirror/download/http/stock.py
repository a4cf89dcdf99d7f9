"""The stock adapter of requests, for what is rare, with our errors and our bounds.

Bounds of memory are those of http.client; what may take for ever by them ends by the time-out.
"""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import quote

import gevent
import requests
from requests.adapters import HTTPAdapter
from requests.models import PreparedRequest, Response
from requests.structures import CaseInsensitiveDict

from pypimirror.domain.model import Reason
from pypimirror.download.failure import Again, FetchError, bad_response
from pypimirror.download.http.authorities import authorities
from pypimirror.download.http.body import Pace
from pypimirror.download.http.connection import READ_SIZE, Line


class Stock:
    """Sends through requests' own adapter. At most `keep` connections to a host are kept."""

    def __init__(self, keep: int) -> None:
        self._adapter = HTTPAdapter(pool_connections=16, pool_maxsize=keep)

    def send(
        self, request: PreparedRequest, line: Line, timeout: Any, *, verify: Any, cert: Any
    ) -> Response:
        """Return the answer, its body unread. Raises `FetchError`."""
        request.headers = CaseInsensitiveDict(request.headers)
        if verify is True:
            paths = ssl.get_default_verify_paths()
            verify = authorities(line.ca_file) or paths.cafile or paths.capath or True
        seconds = timeout if isinstance(timeout, (int, float)) else None
        late = FetchError(
            Reason.TIMEOUT, f"{line.origin} gave no answer in time.", again=Again.ALWAYS
        )
        try:
            with gevent.Timeout(seconds, late):
                response = self._adapter.send(
                    request,
                    stream=True,
                    timeout=timeout,
                    verify=verify,
                    cert=cert,
                    proxies=_proxies(line),
                )
        except (requests.RequestException, OSError) as error:
            raise stock_failure(error) from error
        response.raw = StockBody(response.raw, line, seconds)
        return response

    def close(self) -> None:
        """Close all idle connections."""
        self._adapter.close()


class StockBody:
    """The body of an answer of the stock adapter, in pieces."""

    delimited = True

    def __init__(self, raw: Any, line: Line, seconds: float | None) -> None:
        self._raw = raw
        self._line = line
        self._pace = Pace(seconds) if seconds else None
        self.excess = False

    def next_piece(self) -> bytes:
        """Return the next bytes as they crossed the network, nothing at the end."""
        try:
            piece: bytes = self._raw.read1(READ_SIZE, decode_content=False)
            if self._pace is not None:
                self._pace.took(len(piece), self._line.origin)
        except FetchError:
            self.close()
            raise
        except Exception as error:  # urllib3's and http.client's errors share no useful base
            self.close()
            raise stock_failure(error) from error
        if not piece:
            self._raw.release_conn()
        return piece

    def close(self) -> None:
        """Stop reading."""
        self._raw.close()

    release_conn = close

    def read(self, *arguments: Any, **options: Any) -> bytes:
        """Return bytes as requests asks for them."""
        data: bytes = self._raw.read(*arguments, **options)
        return data

    def stream(self, *arguments: Any, **options: Any) -> Any:
        """Yield the body as requests asks for it."""
        return self._raw.stream(*arguments, **options)


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


def _proxies(line: Line) -> dict[str, str]:
    """Return a line's proxy as requests wants it."""
    proxy = line.proxy
    if proxy is None:
        return {}
    login = f"{':'.join(quote(part, safe='') for part in proxy.login)}@" if proxy.login else ""
    return {line.origin.scheme: proxy.shown.replace("://", f"://{login}", 1)}
