"""Asking for one URL on behalf of an upstream: host policy, logins, proxies, redirects.

One call is one attempt; `pypimirror.download.fetch` tries again. What is the same for each
request to a host (its login, its proxy) is worked out once, since reading the environment and
netrc for each request is what makes stock requests slow.

* Redirects are followed here, at most `MAX_REDIRECTS`, never in a circle, never to anything but
  http and https, never from https to http, and only to hosts that the policy allows.
* A login is sent only to the origin that it was given for, so no redirect carries it away.
"""

from __future__ import annotations

import base64
import contextlib
import time
from typing import NamedTuple
from urllib.parse import urljoin

from requests.models import Response
from requests.utils import get_environ_proxies, get_netrc_auth, select_proxy

from pypimirror.download import local
from pypimirror.download.body import Body, Raw
from pypimirror.download.failure import FetchError, bad_response, status_failure
from pypimirror.download.hosts import (
    Address,
    HostPolicy,
    Origin,
    is_local,
    is_spelled_private,
    not_public,
    parse_url,
    shown,
)
from pypimirror.download.protocol import Hello, Remote
from pypimirror.download.retry import parse_retry_after
from pypimirror.download.transport import Request, StockBody, Transport
from pypimirror.model import Reason

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
DRAINED = 64 << 10  #: bytes of an unwanted body that are read to keep its connection


class Route(NamedTuple):
    """How an origin is asked for one upstream."""

    public_only: bool
    authorization: str | None
    proxies: dict[str, str] | None


class Client:
    """Asks for URLs on behalf of the upstreams named in a `Hello`."""

    def __init__(self, hello: Hello, transport: Transport | None = None) -> None:
        self._transport = transport or Transport(timeout=hello.timeout, keep=hello.connections)
        self._user_agent = hello.user_agent
        self._remotes = {remote.name: remote for remote in hello.remotes}
        self._routes: dict[tuple[str, Origin], Route] = {}

    def get(self, remote: str, url: str, headers: dict[str, str], method: str = "GET") -> Response:
        """Return the answer to a GET or HEAD, redirects followed, its body unread.

        `headers` may not hold Authorization. Raises `FetchError`.
        """
        if is_local(url) and is_local(self._remote(remote).url):
            return local.get(self._remote(remote), url, headers)
        address = parse_url(url)
        seen: set[str] = set()
        while True:
            response = self._ask(remote, address, headers, method)
            if response.status_code not in REDIRECTS or "Location" not in response.headers:
                return response
            seen.add(address.url)
            location = response.headers["Location"]
            discard(response)
            address = next_hop(address, location)
            if address.url in seen:
                raise FetchError(Reason.REDIRECT, f"{url} redirects in a circle.")
            if len(seen) > MAX_REDIRECTS:
                raise FetchError(
                    Reason.REDIRECT, f"{url} redirects more than {MAX_REDIRECTS} times."
                )

    def close(self) -> None:
        """Close all idle connections."""
        self._transport.close()

    def _ask(self, remote: str, address: Address, headers: dict[str, str], method: str) -> Response:
        key = (remote, address.origin)
        route = self._routes.get(key)
        if route is None:
            route = self._routes[key] = self._route(remote, address)
        sent = {"User-Agent": self._user_agent, **headers}
        if route.authorization is not None:
            sent["Authorization"] = route.authorization
        request = Request(address, sent, public_only=route.public_only, method=method)
        return self._transport.send(request, stream=True, proxies=route.proxies)

    def _remote(self, name: str) -> Remote:
        if name not in self._remotes:
            raise FetchError(Reason.INTERNAL, f"No upstream is called {name!r}.")
        return self._remotes[name]

    def _route(self, remote: str, address: Address) -> Route:
        policy = HostPolicy(self._remote(remote))
        origin = address.origin
        public_only = policy.public_only(origin)
        proxies = environment_proxies(address.url)
        if proxies and public_only and is_spelled_private(origin.host):
            # A proxy looks names up itself; what can be checked here is the name as such.
            raise not_public(origin, origin.host, policy.name)
        login = policy.login if origin == policy.own and policy.login else None
        login = login or get_netrc_auth(address.url)
        return Route(public_only, _basic(login) if login else None, proxies)


def next_hop(address: Address, location: str) -> Address:
    """Return where a redirect leads. Raises `FetchError` (REDIRECT) where it must not lead."""
    with contextlib.suppress(UnicodeError):
        # Header values are Latin-1 to HTTP, but servers send UTF-8.
        location = location.encode("latin-1").decode("utf-8")
    try:
        following = parse_url(urljoin(address.url, location))
    except (FetchError, ValueError) as error:
        raise FetchError(
            Reason.REDIRECT,
            f"{address.url} redirects to {shown(location)}, which is not an http or https URL.",
        ) from error
    if address.origin.scheme == "https" and following.origin.scheme == "http":
        raise FetchError(
            Reason.REDIRECT, f"{address.url} redirects from https to http: {following.url}."
        )
    return following


def environment_proxies(url: str) -> dict[str, str] | None:
    """Return the proxies that the environment sets for `url`, None where it sets none."""
    proxies = get_environ_proxies(url)
    return proxies if select_proxy(url, proxies) else None


def _basic(login: tuple[str, str]) -> str:
    return "Basic " + base64.b64encode(":".join(login).encode("utf-8")).decode("ascii")


def raw_of(response: Response) -> Raw:
    """Return the body of an answer in pieces, whichever adapter it came through."""
    raw = response.raw
    if not isinstance(raw, Body | StockBody | local.FileBody):
        raw = response.raw = StockBody(raw)
    return raw


def discard(response: Response) -> None:
    """Be done with an answer: read a short rest, so that the connection can be kept."""
    raw = raw_of(response)
    left = DRAINED if (content_length(response) or 0) <= DRAINED else 0
    try:
        while left > 0 and (piece := raw.next_piece()):
            left -= len(piece)
    except FetchError:
        pass  # nobody wanted it
    finally:
        raw.close()


def content_length(response: Response) -> int | None:
    """Return the bytes that an answer announces for its body, None where it announces none."""
    value = response.headers.get("Content-Length")
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()):
        raise bad_response(f"The answer has the Content-Length {value[:40]!r}.")
    return int(value)


def failed_status(response: Response) -> FetchError:
    """Return the failure for an answer with an unwanted status."""
    after = parse_retry_after(response.headers.get("Retry-After"), time.time())
    return status_failure(response.status_code, response.url, after)
