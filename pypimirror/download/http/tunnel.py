"""Choose the proxy for an upstream, and connect through it.

This module speaks CONNECT to HTTP proxies (RFC 9110, 9.3.6) and SOCKS5 (RFC 1928 and 1929). A proxy
is trusted no more than an upstream, so its answers have the same bounds. The caller bounds the
time. A plain `http` request goes to an HTTP proxy unchanged, and needs no connection through it.

The resolver's proxy (`pypimirror.resolve.ways`) uses this module too: no gevent.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from typing import TYPE_CHECKING, Protocol

from pypimirror.domain.addresses import NONE, Proxy, basic, parse_proxy
from pypimirror.domain.model import Reason
from pypimirror.download.failure import Again, FetchError, bad_response
from pypimirror.download.http.hosts import Address, Origin
from pypimirror.download.protocol import Remote

if TYPE_CHECKING:
    from pypimirror.download.http.connection import HttpConnection

_SOCKS_FAILURES = {
    1: "it failed",
    2: "its rules do not allow that",
    3: "the network cannot be reached",
    4: "the host cannot be reached",
    5: "the host refuses",
    6: "no answer in time",
    7: "it does not know how to connect",
    8: "it does not know this kind of address",
}


class AnySocket(Protocol):
    """A socket, of gevent or of Python."""

    def sendall(self, data: bytes, /) -> object:
        """Send all bytes."""

    def recv(self, size: int, /) -> bytes:
        """Return up to `size` bytes, b"" at the end."""


def proxy_for(remote: Remote, address: Address) -> Proxy | None:
    """Return the proxy for an address: the configuration's, else the environment's."""
    text = remote.proxy or _of_environment(address.url)
    if not text or text == NONE:
        return None
    try:
        return parse_proxy(text)
    except ValueError as error:
        raise FetchError(
            Reason.CONNECTION,
            f"The proxy for {address.origin}, of the environment, cannot be used: {error}.",
        ) from error


def _of_environment(url: str) -> str:
    """Return the environment's proxy for an address, "" for none."""
    has_any = any(name.lower().endswith("_proxy") for name in os.environ)
    if not has_any and sys.platform != "darwin":  # macOS has proxies in its settings, too
        return ""
    from requests.utils import get_environ_proxies, select_proxy  # imported here: it takes a while

    return select_proxy(url, get_environ_proxies(url)) or ""


def http_connect(connection: HttpConnection, proxy: Proxy, origin: Origin) -> None:
    """Have an HTTP proxy connect to `origin`. Raises `FetchError`."""
    target = f"[{origin.host}]" if ":" in origin.host else origin.host
    lines = [f"CONNECT {target}:{origin.port} HTTP/1.1", f"Host: {target}:{origin.port}"]
    if proxy.login:
        lines.append(f"Proxy-Authorization: {basic(*proxy.login)}")
    connection.send("\r\n".join([*lines, "", ""]).encode("ascii"))
    head = connection.read_head()
    if head.status == 407:
        raise wants_login(proxy)
    if not 200 <= head.status < 300:
        raise FetchError(
            Reason.CONNECTION,
            f"The proxy {proxy.shown} does not connect to {origin}: it answers with status "
            f"{head.status}.",
            again=Again.ALWAYS if head.status >= 500 or head.status == 429 else Again.NEVER,
        )
    if connection.buffer:  # bytes that came before the upstream was asked
        raise bad_response(f"The proxy {proxy.shown} sent more than its answer.")


def wants_login(proxy: Proxy) -> FetchError:
    """Return the failure for a proxy that asks for a login, or for another one."""
    what = "refuses the login" if proxy.login else "wants a login"
    return FetchError(
        Reason.CONNECTION,
        f"The proxy {proxy.shown} {what} (status 407). Put it into the proxy's address: "
        "http://user:password@host:port.",
    )


def socks_connect(sock: AnySocket, proxy: Proxy, host: str, port: int) -> None:
    """Have a SOCKS5 proxy connect to `host`, a name or an address. Raises `FetchError`, `OSError`.

    Reads no byte beyond the proxy's answer.
    """
    _log_in(sock, proxy)
    sock.sendall(b"\5\1\0" + _address(host) + port.to_bytes(2, "big"))
    version, failure, _, kind = _exactly(sock, proxy, 4)
    if version != 5:
        raise _no_socks(proxy)
    if failure:
        said = _SOCKS_FAILURES.get(failure, f"failure {failure}")
        raise FetchError(
            Reason.CONNECTION,
            f"The proxy {proxy.shown} does not connect to {host}: {said}.",
            again=Again.NEVER if failure in (2, 7, 8) else Again.ALWAYS,
        )
    sizes = {1: 4, 4: 16}
    size = _exactly(sock, proxy, 1)[0] if kind == 3 else sizes.get(kind)
    if size is None:
        raise _no_socks(proxy)
    _exactly(sock, proxy, size + 2)


def _log_in(sock: AnySocket, proxy: Proxy) -> None:
    sock.sendall(b"\5\2\0\2" if proxy.login else b"\5\1\0")
    version, method = _exactly(sock, proxy, 2)
    if version != 5:
        raise _no_socks(proxy)
    if method == 0:
        return
    if method == 2 and proxy.login:
        user, password = (part.encode()[:255] for part in proxy.login)
        sock.sendall(b"\1" + bytes([len(user)]) + user + bytes([len(password)]) + password)
        if _exactly(sock, proxy, 2)[1] == 0:
            return
    what = "refuses the login" if proxy.login else "wants a login"
    raise FetchError(
        Reason.CONNECTION,
        f"The proxy {proxy.shown} {what}. Put it into the proxy's address: "
        "socks5h://user:password@host:port.",
    )


def _address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode("ascii")
        if len(name) > 255:
            raise FetchError(Reason.UNSAFE_URL, f"{host[:100]!r} is no name of a host.") from None
        return b"\3" + bytes([len(name)]) + name
    return (b"\1" if address.version == 4 else b"\4") + address.packed


def _exactly(sock: AnySocket, proxy: Proxy, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise FetchError(
                Reason.CONNECTION,
                f"The proxy {proxy.shown} closed the connection without an answer.",
                again=Again.ALWAYS,
            )
        data += more
    return data


def _no_socks(proxy: Proxy) -> FetchError:
    return FetchError(Reason.CONNECTION, f"The proxy {proxy.shown} does not speak SOCKS5.")
