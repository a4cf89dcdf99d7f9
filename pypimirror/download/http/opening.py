"""Open a connection: look up names, check addresses, pass proxies, begin TLS.

All of this happens within the time-out. Each failure is a `FetchError`.

**Gateways.** The gateway of a company or a build farm answers for several hosts at one private
address, over TLS with their real names. A host that the configuration does not name may be asked at
public addresses only (`Line.public_only`). Behind a gateway, it may also be asked at a private
address, if all of this holds:

* The upstream's own host and the other one are asked over TLS, without a proxy, at the same port
  (`HostPolicy.gateway`).
* The own host's name resolves to that address.
* The own host has proven to be there: by a certificate for its name, in a handshake of this
  process. So this machine already answers for the upstream. The name alone would prove nothing,
  because its owner may let it resolve to any address.
* The machine also has a certificate for the other host, as for every host.

Each process makes its own proof, so it does not matter which process fetches what, and in which
order. Nothing is sent to the address before that proof.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from functools import partial

import gevent
from gevent import socket
from gevent.ssl import SSLContext

from pypimirror.domain.addresses import Proxy
from pypimirror.domain.model import Reason
from pypimirror.download.failure import Again, FetchError
from pypimirror.download.http import tunnel
from pypimirror.download.http.connection import HttpConnection, Line, broken, is_cut
from pypimirror.download.http.hosts import Origin, is_public, not_public
from pypimirror.download.http.resolving import Resolver
from pypimirror.download.http.tls import make_tls_context, no_handshake, untrusted


class Opener:
    """Opens connections, each within `timeout` seconds."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._resolver = Resolver()
        self._tls: dict[str, SSLContext] = {}  # by the file of CA certificates
        #: Hosts, with the addresses where each has proven to be, and by which CA certificates.
        self._reached: set[tuple[Line, str]] = set()
        self._reaching: dict[tuple[Line, str], gevent.Greenlet[..., FetchError | None]] = {}

    def trust(self, ca_file: str) -> None:
        """Read CA certificates, once. Raises `FetchError`."""
        if ca_file not in self._tls:
            self._tls[ca_file] = make_tls_context(ca_file)

    def open(self, line: Line) -> HttpConnection:
        """Connect. A private address is refused if only public ones are allowed.

        Raises `FetchError`; HOST_NOT_ALLOWED for such an address.
        """
        origin, proxy = line.origin, line.proxy
        asked = origin if proxy is None else Origin("http", proxy.host, proxy.port)
        through = "" if proxy is None else f", through the proxy {proxy.shown}"
        late = FetchError(
            Reason.TIMEOUT,
            f"{origin} did not accept a connection in time{through}.",
            again=Again.ALWAYS,
        )
        # Outside of the time-out, because reading all CA certificates takes a while.
        if line.needs_tls:
            self.trust(line.ca_file)
        with gevent.Timeout(self._timeout, late):
            try:
                addresses = self._resolver.addresses(asked.host, asked.port)
                if line.public_only and proxy is None:
                    self._check_addresses(line, addresses)
                sock = self._connect(asked, addresses, partial(self._check_reached, line))
            except FetchError as error:
                if proxy is None:
                    raise
                said = f"The proxy {proxy.shown} cannot be reached: {error.message}"
                raise FetchError(error.reason, said, again=error.again) from error
            try:
                if proxy is not None and proxy.kind == "https":
                    at = Origin("https", proxy.host, proxy.port)
                    sock = self._begin_tls(sock, at, line.ca_file)
                if proxy is not None:
                    self._pass(sock, proxy, line)
                if origin.scheme == "https":
                    sock = self._begin_tls(sock, origin, line.ca_file)
                    if proxy is None and not line.public_only:
                        self._reached.add((line, str(sock.getpeername()[0])))
            except OSError as error:
                sock.close()
                raise broken(asked, error) from error
            except BaseException:
                sock.close()
                raise
        return HttpConnection(sock, line, self._timeout)

    # Addresses that are not public

    def _check_addresses(self, line: Line, addresses: Sequence[str]) -> None:
        """Refuse a host at a private address, unless the own host has the same one."""
        private = [address for address in addresses if not is_public(address)]
        if not private:
            return
        own = line.gateway
        allowed = self._resolver.addresses(own.host, own.port) if own is not None else []
        for address in private:
            if address not in allowed:
                raise not_public(line.origin, address)

    def _check_reached(self, line: Line, address: str) -> None:
        """Refuse a private address, unless the own host has proven to be there.

        Raises `OSError` if the own host cannot be asked now.
        """
        if not line.public_only or line.proxy is not None or is_public(address):
            return
        assert line.gateway is not None
        key = (Line(line.gateway, ca_file=line.ca_file), address)
        if key in self._reached:
            return
        reaching = self._reaching.get(key)
        if reaching is None:  # in a greenlet of its own, because several may wait for the result
            reaching = self._reaching[key] = gevent.spawn(self._reach, *key)
        failure = reaching.get()
        if failure is None:
            return
        if failure.again is Again.NEVER:  # another machine answers there
            raise not_public(line.origin, address) from failure
        if failure.reason is Reason.TIMEOUT:
            raise TimeoutError from failure
        raise ConnectionError(failure.message) from failure

    def _reach(self, own: Line, address: str) -> FetchError | None:
        """Check that a host answers at an address; return the failure if it does not."""
        origin = own.origin
        late = FetchError(
            Reason.TIMEOUT, f"{origin} did not answer in time at {address}.", again=Again.ALWAYS
        )
        try:
            with gevent.Timeout(self._timeout, late):
                sock = self._connect(origin, [address])
                try:
                    self._begin_tls(sock, origin, own.ca_file).close()
                finally:
                    sock.close()
        except FetchError as error:
            return error
        finally:
            del self._reaching[own, address]
        self._reached.add((own, address))
        return None

    # Steps

    def _pass(self, sock: socket.socket, proxy: Proxy, line: Line) -> None:
        """Ask the proxy to connect to the origin, unless the request goes to the proxy itself."""
        origin = line.origin
        if proxy.kind == "socks5":  # names are looked up here
            addresses = self._resolver.addresses(origin.host, origin.port)
            if line.public_only:
                self._check_addresses(line, addresses)
            if not addresses:
                raise _no_address(origin)
            sock.settimeout(self._timeout)
            tunnel.socks_connect(sock, proxy, addresses[0], origin.port)
        elif proxy.kind == "socks5h":
            sock.settimeout(self._timeout)
            tunnel.socks_connect(sock, proxy, origin.host, origin.port)
        elif not line.is_asked_of_proxy:
            at = Origin("https" if proxy.kind == "https" else "http", proxy.host, proxy.port)
            at_proxy = HttpConnection(sock, Line(at), self._timeout)
            tunnel.http_connect(at_proxy, proxy, origin)

    def _begin_tls(self, sock: socket.socket, origin: Origin, ca_file: str) -> socket.socket:
        tls = self._tls.get(ca_file)
        assert tls is not None
        try:
            if isinstance(sock, ssl.SSLSocket):  # that of a proxy
                from urllib3.util.ssltransport import SSLTransport  # imported here: it is rare

                return SSLTransport(sock, tls, origin.host, suppress_ragged_eofs=False)  # type: ignore[return-value]
            return tls.wrap_socket(sock, server_hostname=origin.host, suppress_ragged_eofs=False)
        except ssl.SSLCertVerificationError as error:
            raise untrusted(origin, error) from error
        except (ssl.SSLZeroReturnError, ssl.SSLWantReadError) as error:
            raise broken(origin, error) from error
        except ssl.SSLError as error:
            raise broken(origin, error) if is_cut(error) else no_handshake(origin, error) from error
        except (OSError, ValueError) as error:
            raise broken(origin, error) from error

    def _connect(
        self,
        origin: Origin,
        addresses: Sequence[str],
        admit: Callable[[str], None] = lambda _: None,
    ) -> socket.socket:
        """Connect to the first of `addresses` that accepts, sharing the time among them.

        `admit` is called before each address. It raises `OSError` to skip one, and `FetchError` to
        give up.
        """
        problem: OSError | None = None
        for address in addresses:
            try:
                admit(address)
                return _connected(origin, address, self._timeout / len(addresses))
            except OSError as error:
                problem = error
        if problem is None:
            raise _no_address(origin)
        raise broken(origin, problem) from problem


def _connected(origin: Origin, address: str, timeout: float) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect((address, origin.port))
    except BaseException:
        sock.close()
        raise
    return sock


def _no_address(origin: Origin) -> FetchError:
    return FetchError(Reason.CONNECTION, f"{origin.host} has no address.", again=Again.ALWAYS)
