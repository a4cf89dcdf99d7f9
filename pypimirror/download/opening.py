"""Opening a connection: names looked up, addresses checked, proxies passed, TLS begun.

All of it happens within the time-out. Every failure leaves here as a `FetchError`.
"""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
import time

import gevent
from gevent import socket
from gevent.ssl import SSLContext

from pypimirror.addresses import Proxy
from pypimirror.download import tunnel
from pypimirror.download.connection import Connection, Line, broken
from pypimirror.download.failure import Again, FetchError
from pypimirror.download.hosts import Origin, is_public, not_public
from pypimirror.download.tls import no_handshake, untrusted
from pypimirror.model import Reason


class Resolver:
    """Name lookups, kept for `keep` seconds, and never two at once for one name."""

    def __init__(self, keep: float = 30.0) -> None:
        self._keep = keep
        self._known: dict[tuple[str, int], tuple[float, list[str]]] = {}
        self._pending: dict[tuple[str, int], gevent.Greenlet[..., list[str] | OSError]] = {}

    def addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of `host`. Raises `FetchError` (CONNECTION)."""
        with contextlib.suppress(ValueError):
            return [str(ipaddress.ip_address(host))]
        known = self._known.get((host, port))
        if known is not None and known[0] > time.monotonic():
            return known[1]
        lookup = self._pending.get((host, port))
        if lookup is None:
            # A greenlet of its own: it goes on for the others if this one's time is up.
            lookup = self._pending[host, port] = gevent.spawn(self._look_up, host, port)
        found = lookup.get()
        if isinstance(found, OSError):
            raise FetchError(
                Reason.CONNECTION,
                f"The host {host!r} cannot be resolved: {found.strerror or found}.",
                again=Again.ALWAYS,
            ) from found
        return found

    def _look_up(self, host: str, port: int) -> list[str] | OSError:
        try:
            infos = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
        except OSError as error:
            return error
        except UnicodeError as error:
            return OSError(str(error))
        finally:
            del self._pending[host, port]
        found = list(dict.fromkeys(str(info[4][0]) for info in infos))
        self._known[host, port] = (time.monotonic() + self._keep, found)
        return found


def open_connection(
    line: Line, *, timeout: float, resolver: Resolver, tls: SSLContext | None
) -> Connection:
    """Connect, within `timeout` seconds in all; `tls` is there where the line needs it.

    Where only public addresses may be asked, another is refused: HOST_NOT_ALLOWED.
    """
    origin, proxy = line.origin, line.proxy
    asked = origin if proxy is None else Origin("http", proxy.host, proxy.port)
    through = "" if proxy is None else f", through the proxy {proxy.shown}"
    late = FetchError(
        Reason.TIMEOUT,
        f"{origin} did not accept a connection in time{through}.",
        again=Again.ALWAYS,
    )
    with gevent.Timeout(timeout, late):
        try:
            addresses = resolver.addresses(asked.host, asked.port)
            if line.public_only and proxy is None:
                _check_public(origin, addresses)
            sock = _connect(asked, addresses, timeout)
        except FetchError as error:
            if proxy is None:
                raise
            said = f"The proxy {proxy.shown} cannot be reached: {error.message}"
            raise FetchError(error.reason, said, again=error.again) from error
        try:
            if proxy is not None and proxy.kind == "https":
                at = Origin("https", proxy.host, proxy.port)
                sock = _begin_tls(sock, at, tls)
            elif proxy is not None:
                _pass(sock, proxy, line, timeout, resolver)
            if origin.scheme == "https":
                sock = _begin_tls(sock, origin, tls)
        except OSError as error:
            sock.close()
            raise broken(asked, error) from error
        except BaseException:
            sock.close()
            raise
    return Connection(sock, line, timeout)


def _check_public(origin: Origin, addresses: list[str]) -> None:
    for address in addresses:
        if not is_public(address):
            raise not_public(origin, address)


def _pass(
    sock: socket.socket, proxy: Proxy, line: Line, timeout: float, resolver: Resolver
) -> None:
    """Have the proxy connect to the origin, where it is not asked itself."""
    origin = line.origin
    if proxy.kind == "socks5":  # names are looked up here
        addresses = resolver.addresses(origin.host, origin.port)
        if line.public_only:
            _check_public(origin, addresses)
        if not addresses:
            raise _no_address(origin)
        sock.settimeout(timeout)
        tunnel.socks_connect(sock, proxy, addresses[0], origin.port)
    elif proxy.kind == "socks5h":
        sock.settimeout(timeout)
        tunnel.socks_connect(sock, proxy, origin.host, origin.port)
    elif not line.is_asked_of_proxy:
        at_proxy = Connection(sock, Line(Origin("http", proxy.host, proxy.port)), timeout)
        tunnel.http_connect(at_proxy, proxy, origin)


def _begin_tls(sock: socket.socket, origin: Origin, tls: SSLContext | None) -> socket.socket:
    assert tls is not None
    try:
        return tls.wrap_socket(sock, server_hostname=origin.host, suppress_ragged_eofs=False)
    except ssl.SSLCertVerificationError as error:
        raise untrusted(origin, error) from error
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLWantReadError) as error:
        raise broken(origin, error) from error
    except ssl.SSLError as error:
        raise no_handshake(origin, error) from error
    except (OSError, ValueError) as error:
        raise broken(origin, error) from error


def _connect(origin: Origin, addresses: list[str], timeout: float) -> socket.socket:
    """Connect to the first of `addresses` that accepts, sharing the time among them."""
    problem: OSError | None = None
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout / len(addresses))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect((address, origin.port))
        except OSError as error:
            sock.close()
            problem = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    if problem is None:
        raise _no_address(origin)
    raise broken(origin, problem) from problem


def _no_address(origin: Origin) -> FetchError:
    return FetchError(Reason.CONNECTION, f"{origin.host} has no address.", again=Again.ALWAYS)
