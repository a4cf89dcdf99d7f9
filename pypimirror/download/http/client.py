"""Ask for one URL on behalf of an upstream: host policy, logins, proxies, redirects.

One call is one attempt; `pypimirror.download.engine.fetch` tries again. Login and proxy of a host
are found once, because reading the environment and netrc for each request makes stock requests
slow.

* At most `MAX_REDIRECTS` redirects are followed: never in a circle, never to another scheme than
  http and https, never from https to http, and only to hosts that the policy allows.
* A login is sent only to the origin that it was given for, so no redirect carries it away.
  `pypimirror.download.http.logins` chooses it.
"""

from __future__ import annotations

import contextlib
from typing import NamedTuple
from urllib.parse import urljoin

from pypimirror.domain.model import Reason
from pypimirror.download import dates
from pypimirror.download.failure import (
    MISSING_STATUSES,
    FetchError,
    bad_response,
    status_failure,
)
from pypimirror.download.http.connection import Line
from pypimirror.download.http.content_encoding import decoded
from pypimirror.download.http.hosts import (
    Address,
    HostError,
    HostPolicy,
    Origin,
    is_local,
    is_spelled_private,
    not_public,
    parse_url,
    shown,
)
from pypimirror.download.http.logins import Keyrings, Login, login_for
from pypimirror.download.http.transport import Answer, Request, Transport
from pypimirror.download.http.tunnel import proxy_for
from pypimirror.download.protocol import Hello, Remote
from pypimirror.download.refusals import MOST_READ, told
from pypimirror.system import clock

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: HTTP status of an answer that a proxy has changed. It counts as 200: pages and files are checked
#: anyway.
_TRANSFORMED = 203
_REFUSED = 401  #: HTTP status that asks for a login, or for another one
_MOST_UNPACKED = 1 << 20  #: bytes of an unwanted body, after unpacking
DRAINED = 64 << 10  #: bytes of an unwanted body that are read to keep its connection


class Route(NamedTuple):
    """How an origin is asked for one upstream."""

    line: Line
    login: Login


class Client:
    """Asks for URLs on behalf of the upstreams named in a `Hello`."""

    def __init__(self, hello: Hello, transport: Transport | None = None) -> None:
        self._transport = transport or Transport(timeout=hello.timeout, keep=hello.connections)
        self._own = (("User-Agent", hello.user_agent),)
        self._remotes = {remote.name: remote for remote in hello.remotes}
        self._routes: dict[tuple[str, Origin], Route] = {}
        self._keyrings = Keyrings()

    def get(self, remote: str, url: str, headers: dict[str, str], method: str = "GET") -> Answer:
        """Follow redirects and return the answer to a GET or HEAD, with its body unread.

        `headers` may not hold Authorization. Raises `FetchError`.
        """
        try:
            return self._get(remote, url, headers, method)
        except HostError as error:
            raise error.of(self._remote(remote)) from error

    def _get(self, remote: str, url: str, headers: dict[str, str], method: str) -> Answer:
        if is_local(url) and is_local(self._remote(remote).url):
            from pypimirror.download.http import local  # imported here because it is rare

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

    def login_source(self, remote: str) -> str:
        """Return the source of the login at an upstream's own address, "" for none."""
        own = self._remote(remote).url
        route = None if is_local(own) else self._routes.get((remote, parse_url(own).origin))
        return route.login.source if route else ""

    def prepare(self) -> None:
        """Read the CA certificates for the upstreams. The first request reports what is wrong."""
        for remote in self._remotes.values():
            if remote.url.startswith("https:"):
                with contextlib.suppress(FetchError):
                    self._transport.trust(remote.ca_file)

    def close(self) -> None:
        """Close all idle connections."""
        self._transport.close()

    def _ask(self, remote: str, address: Address, headers: dict[str, str], method: str) -> Answer:
        key = (remote, address.origin)
        route = self._routes.get(key)
        if route is None:
            route = self._routes[key] = self._route(remote, address)
        response = self._send(route, address, headers, method)
        while response.status_code == _REFUSED:
            login = self._further_login(remote, address.origin, route.login, response)
            if login == route.login:
                break
            discard(response)
            route = self._routes[key] = route._replace(login=login)
            response = self._send(route, address, headers, method)
        if response.status_code == _TRANSFORMED:
            response.status_code = 200
        return response

    def _send(self, route: Route, address: Address, headers: dict[str, str], method: str) -> Answer:
        sent: tuple[tuple[str, str], ...] = (*self._own, *headers.items())
        if route.login.authorization:
            sent = (*sent, ("Authorization", route.login.authorization))
        return self._transport.send(Request(address, route.line, sent, method))

    def _further_login(self, name: str, origin: Origin, refused: Login, response: Answer) -> Login:
        """Return the login to try after a refusal, or the refused one if there is no other."""
        remote = self._remote(name)
        if remote.keyring is None or origin != HostPolicy(remote).own:
            return refused
        try:
            return self._keyrings.after_refusal(remote, remote.keyring, refused)
        except FetchError:
            discard(response)
            raise

    def _remote(self, name: str) -> Remote:
        if name not in self._remotes:
            raise FetchError(Reason.INTERNAL, f"No upstream is called {name!r}.")
        return self._remotes[name]

    def _route(self, name: str, address: Address) -> Route:
        remote = self._remote(name)
        policy = HostPolicy(remote)
        origin = address.origin
        public_only = policy.public_only(origin)
        proxy = proxy_for(remote, address)
        looks_up = proxy is None or proxy.kind == "socks5"
        if not looks_up and public_only and is_spelled_private(origin.host):
            # The proxy resolves names, so only the name itself can be checked here.
            raise not_public(origin, origin.host)
        gateway = policy.gateway(origin) if public_only and proxy is None else None
        if gateway is not None and proxy_for(remote, Address(gateway, "/")) is not None:
            gateway = None  # the proxy resolves its name
        line = Line(origin, public_only, proxy, remote.ca_file, gateway)
        return Route(line, login_for(remote, policy, origin))


def next_hop(address: Address, location: str) -> Address:
    """Return where a redirect leads. Raises `FetchError` (REDIRECT) if it must not lead there."""
    with contextlib.suppress(UnicodeError):
        # HTTP says that header values are Latin-1, but servers send UTF-8.
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


def discard(response: Answer) -> None:
    """Close an answer. A short rest is read first, so that the connection can be used again."""
    raw = response.raw
    left = DRAINED if (content_length(response) or 0) <= DRAINED else 0
    try:
        while left > 0 and (piece := raw.next_piece()):
            left -= len(piece)
    except FetchError:
        pass  # the rest is not needed
    finally:
        raw.close()


def content_length(response: Answer) -> int | None:
    """Return the announced length of the body in bytes, or None."""
    value = response.headers.get("Content-Length")
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()):
        raise bad_response(f"The answer has the Content-Length {value[:40]!r}.")
    return int(value)


def failed_status(response: Answer, *, of_file: bool = False) -> FetchError:
    """Return the failure for an answer with an unwanted status, and close the answer."""
    after = dates.retry_after(response.headers, clock.now())
    status = response.status_code
    said = ""
    if 400 <= status < 500 and (of_file or status not in MISSING_STATUSES):
        said = told(status, response.reason, _beginning(response, MOST_READ))
    discard(response)
    return status_failure(status, response.url, after, said=said, of_file=of_file)


def _beginning(response: Answer, most: int) -> bytes:
    """Return the first unpacked bytes of a body, within the bounds."""
    label, found = response.headers.get("Content-Encoding", ""), b""
    with contextlib.suppress(FetchError):
        for piece in decoded(response.raw, label, _MOST_UNPACKED):
            found += piece
            if len(found) >= most:
                break
    return found[:most]
