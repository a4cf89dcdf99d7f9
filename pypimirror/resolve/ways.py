"""Decide which hosts a resolver may ask, and connect to them.

**The rule** is that of the download engine: the same decision (`pypimirror.download.http.hosts`),
the same proxies (`pypimirror.download.http.tunnel`), and the same condition for gateways
(`pypimirror.download.http.opening`). But it holds for all upstreams together, because a resolver
does not say whose page named an address. The first upstream that names a host counts, else the
first one with "*". The connection goes to the address that was checked.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import time
from typing import NamedTuple

from pypimirror.domain.addresses import Proxy, basic
from pypimirror.domain.model import Reason
from pypimirror.download.failure import FetchError
from pypimirror.download.http.authorities import authorities, trusted
from pypimirror.download.http.hosts import (
    Address,
    HostError,
    HostPolicy,
    Origin,
    is_public,
    is_spelled_private,
    not_public,
)
from pypimirror.download.http.tunnel import proxy_for, socks_connect
from pypimirror.download.protocol import Remote

MAX_HEAD = 64 << 10  #: bytes


class Way(NamedTuple):
    """An open connection to a host."""

    sock: socket.socket
    asked: Proxy | None = None  #: the HTTP proxy that gets the whole address of a plain request


class Ways:
    """The ways to the hosts of some upstreams, each opened within `timeout` seconds a step."""

    def __init__(self, remotes: tuple[Remote, ...], timeout: float) -> None:
        self._known = [(HostPolicy(remote), remote) for remote in remotes]
        self._timeout = timeout
        self._proven: set[tuple[Origin, str]] = set()

    def open(self, address: Address) -> Way:
        """Connect to the host of an address.

        Raises `HostError` if it may not be asked, `FetchError` and `OSError` if it cannot be.
        """
        policy, remote, public_only = self._allowed(address.origin)
        try:
            return self._open(address, policy, remote, public_only)
        except HostError as error:
            raise error.of(remote) from None

    def _allowed(self, origin: Origin) -> tuple[HostPolicy, Remote, bool]:
        """Return the upstream that allows an origin, and whether only at public addresses."""
        refused: HostError | None = None
        for policy, remote in sorted(self._known, key=lambda each: not each[0].names(origin)):
            try:
                return policy, remote, policy.public_only(origin)
            except HostError as error:
                refused = refused or error.of(remote)
        if len(self._known) == 1 and refused is not None:
            raise refused
        raise HostError(f"{origin} is not a host of any upstream", origin.host)

    def _open(self, address: Address, policy: HostPolicy, remote: Remote, public_only: bool) -> Way:
        origin = address.origin
        proxy = proxy_for(remote, address)
        if proxy is None:
            addresses = _look_up(origin.host, origin.port)
            if public_only:
                self._check(origin, addresses, policy, remote)
            return Way(self._connect(addresses, origin.port))
        if public_only and proxy.kind != "socks5" and is_spelled_private(origin.host):
            raise not_public(origin, origin.host)  # the proxy resolves names
        try:
            sock = self._connect(_look_up(proxy.host, proxy.port), proxy.port)
        except OSError as error:
            said = f"The proxy {proxy.shown} cannot be reached: {error.strerror or error}."
            raise FetchError(Reason.CONNECTION, said) from error
        try:
            return self._through(sock, proxy, origin, remote, public_only)
        except BaseException:
            sock.close()
            raise

    def _through(
        self, sock: socket.socket, proxy: Proxy, origin: Origin, remote: Remote, public_only: bool
    ) -> Way:
        """Have a proxy connect to an origin, if it is not asked itself."""
        if proxy.kind in ("socks5", "socks5h"):
            host = origin.host
            if proxy.kind == "socks5":
                addresses = _look_up(host, origin.port)
                for each in addresses:
                    if public_only and not is_public(each):
                        raise not_public(origin, each)
                host = addresses[0]
            socks_connect(sock, proxy, host, origin.port)
            return Way(sock)
        if proxy.kind == "https":
            sock = _tls(remote).wrap_socket(sock, server_hostname=proxy.host)
        if origin.scheme == "http":
            return Way(sock, proxy)
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        lines = [f"CONNECT {host}:{origin.port} HTTP/1.1", f"Host: {host}:{origin.port}"]
        if proxy.login:
            lines.append(f"Proxy-Authorization: {basic(*proxy.login)}")
        sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
        head, rest = read_head(sock, self._timeout)
        answer = head.partition(b"\r\n")[0][:200]
        if rest or not answer.partition(b" ")[2].startswith(b"2"):
            said = answer.decode("latin-1")
            raise FetchError(
                Reason.CONNECTION,
                f"The proxy {proxy.shown} does not connect to {origin}: it answers {said!r}.",
            )
        return Way(sock)

    def _check(
        self, origin: Origin, addresses: list[str], policy: HostPolicy, remote: Remote
    ) -> None:
        """Refuse a private address, unless the upstream's own host has proven to be there."""
        private = [each for each in addresses if not is_public(each)]
        own = policy.gateway(origin)
        if own is not None and proxy_for(remote, Address(own, "/")) is not None:
            own = None
        for each in private:
            if own is None or each not in _look_up(own.host, own.port):
                raise not_public(origin, each)
            if (own, each) in self._proven:
                continue
            with self._connect([each], own.port) as sock:
                try:
                    _tls(remote).wrap_socket(sock, server_hostname=own.host).close()
                except ssl.SSLError as error:
                    raise not_public(origin, each) from error
            self._proven.add((own, each))

    def _connect(self, addresses: list[str], port: int) -> socket.socket:
        problem = OSError("it has no address")
        for address in addresses:
            try:
                sock = socket.create_connection((address, port), self._timeout / len(addresses))
            except OSError as error:
                problem = error
            else:
                sock.settimeout(self._timeout)
                return sock
        raise problem


def _look_up(host: str, port: int) -> list[str]:
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    try:
        infos = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        said = getattr(error, "strerror", None) or error
        raise FetchError(
            Reason.CONNECTION, f"The host {host!r} cannot be resolved: {said}."
        ) from error
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


def _tls(remote: Remote) -> ssl.SSLContext:
    return ssl.create_default_context(**trusted(authorities(remote.ca_file)))


def read_head(sock: socket.socket, timeout: float, data: bytes = b"") -> tuple[bytes, bytes]:
    """Return a head without its end, and the bytes after it. Raises `OSError`."""
    deadline = time.monotonic() + timeout
    while b"\r\n\r\n" not in data:
        sock.settimeout(max(0.001, deadline - time.monotonic()))
        more = sock.recv(MAX_HEAD)
        if not more or len(data) > MAX_HEAD:
            raise ConnectionError("no head")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest
