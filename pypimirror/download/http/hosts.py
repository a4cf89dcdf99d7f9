"""Decide which hosts and addresses may be asked. Pure: this module resolves and connects nothing.

The rules:

* An address is http or https, with a host. A login in it is ignored.
* A host that the configuration names is allowed, at any address that its name resolves to. These
  are the host and port of the upstream's URL, with the same scheme (or https in place of http, both
  on their default ports), and each "host" (any port) or "host:port" in its `hosts`.
* With "*" in `hosts`, every other host is allowed too, but only at addresses of the public
  internet. `is_public` checks the address of the connection and not the name, which may resolve
  differently each time.
* Such a host is also allowed at the private address of the upstream's own host, at the same port
  and over TLS (`HostPolicy.gateway`), once the own host has proven to be there: a gateway answers
  for both. `pypimirror.download.http.opening` makes that proof.
* Nothing else is allowed.
"""

from __future__ import annotations

import ipaddress
import json
import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from pypimirror.domain.model import Reason
from pypimirror.download.failure import FetchError
from pypimirror.download.protocol import Remote

DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_URL = 8192  #: characters; common servers refuse longer ones

_URL = re.compile(
    r"(?P<scheme>https?)://(?:[!\"$-.0->A-\[\]-~]*@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>[/?][!-\"$-~]*)?(?:#.*)?",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)


class Origin(NamedTuple):
    """Scheme, host and port: what a connection and a login belong to."""

    scheme: str
    host: str  #: lower case, no brackets, ASCII
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        if DEFAULT_PORTS.get(self.scheme, 0) == self.port:
            return f"{self.scheme}://{host}"
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        return str(self).partition("://")[2]


class Address(NamedTuple):
    """A checked URL, taken apart."""

    origin: Origin
    target: str  #: path and query, as they are sent

    @property
    def url(self) -> str:
        """The URL."""
        return f"{self.origin}{self.target}"


def shown(url: str) -> str:
    """Return an address for messages: short, and without a login."""
    return repr(re.sub(r"(^[^/?#]*//)[^/?#]*@", r"\1", url)[:200])


def is_local(url: str) -> bool:
    """Whether an address names a file on this machine."""
    return url.startswith("file:")


@lru_cache(maxsize=1024)  # each URL is parsed several times within moments
def parse_url(url: str) -> Address:
    """Take `url` apart. Raises `FetchError` (UNSAFE_URL) for anything but a sound http(s) URL."""
    match = _URL.fullmatch(url) or _URL.fullmatch(_quoted(url))
    if match is None or len(url) > MAX_URL:
        raise FetchError(Reason.UNSAFE_URL, f"{shown(url)} is not an http or https URL.")
    scheme, host, port, target = match.group("scheme", "host", "port", "target")
    scheme = scheme.lower()
    number = int(port) if port else DEFAULT_PORTS[scheme]
    if not 0 < number < 65536:
        raise FetchError(Reason.UNSAFE_URL, f"{shown(url)} has a port that does not exist.")
    host = _plain_host(host)
    if not all(host.split(".")):
        raise FetchError(Reason.UNSAFE_URL, f"{shown(url)} names no host.")
    target = target or "/"
    if target[0] == "?":
        target = "/" + target
    return Address(Origin(scheme, host, number), target)


def _quoted(url: str) -> str:
    """Return `url` with the host in ASCII and everything odd percent-encoded; "" if impossible."""
    if any(character in url for character in "\t\r\n"):
        return ""  # urlsplit would silently drop them
    from requests.utils import requote_uri  # imported here because few addresses are odd

    try:
        parts = urlsplit(url)
        if "\\" in parts.netloc or parts.netloc.count("@") > 1:
            return ""  # programs disagree about where the host begins
        host = (parts.hostname or "").encode("idna").decode("ascii")
        netloc = parts.netloc.lower().replace(parts.hostname or "", host)
        if parts.username is not None:
            netloc = parts.netloc.rpartition("@")[0] + "@" + netloc.rpartition("@")[2]
        return requote_uri(parts._replace(netloc=netloc).geturl())
    except ValueError:  # an error of requests is one, too
        return ""


def _plain_host(host: str) -> str:
    return host.lower().strip("[]").removesuffix(".")


class HostError(FetchError):
    """A host must not be asked. The message ends with the line of TOML that would allow it."""

    def __init__(self, cause: str, host: str, remote: Remote | None = None) -> None:
        remedy = f"add {host!r} to `hosts` of the [[upstream]]"
        if remote is not None:
            hosts = json.dumps([*remote.hosts, host])
            remedy = f"set in the [[upstream]] {remote.name!r}: hosts = {hosts}"
        message = f"{cause}. If files may come from there, {remedy}"
        super().__init__(Reason.HOST_NOT_ALLOWED, message)
        self._cause, self._host = cause, host

    def of(self, remote: Remote) -> HostError:
        """Return the same failure with the upstream in its message."""
        return HostError(self._cause, self._host, remote)


class HostPolicy:
    """What one upstream's configuration allows."""

    def __init__(self, remote: Remote) -> None:
        self.name = remote.name
        # A directory has no host, so `hosts` must name each host that it links to.
        local = Address(Origin("file", "", 0), "/")
        own = local if is_local(remote.url) else parse_url(remote.url)
        self.own = own.origin
        self._any = "*" in remote.hosts
        self._named: set[tuple[str, int | None]] = set()
        for entry in remote.hosts:
            if entry != "*":
                self._named.add(_parse_entry(entry))

    def names(self, origin: Origin) -> bool:
        """Whether the configuration names this origin, so any address is allowed."""
        scheme, host, port = origin
        if host == self.own.host:
            if port == self.own.port and scheme == self.own.scheme:
                return True
            if (self.own.scheme, self.own.port, scheme, port) == ("http", 80, "https", 443):
                return True
        return (host, None) in self._named or (host, port) in self._named

    def public_only(self, origin: Origin) -> bool:
        """Whether `origin` may be asked at public addresses only; False means at any.

        Raises `HostError` if it may not be asked at all.
        """
        if self.names(origin):
            return False
        if self._any:
            return True
        cause = f"{origin} is not a host of the upstream {self.name!r} ({self.own})"
        raise HostError(cause, origin.host)

    def gateway(self, origin: Origin) -> Origin | None:
        """Return the upstream's own origin if one gateway may answer for it and for `origin`.

        Both are asked over TLS, and at one port.
        """
        both = {self.own.scheme, origin.scheme} == {"https"} and self.own.port == origin.port
        return self.own if both else None


def not_public(origin: Origin, address: str) -> HostError:
    """Return the failure for a host at an address that is not public."""
    return HostError(
        f"{origin.host} is at {address}, which is not a public address, and '*' in `hosts` allows "
        "only public ones, and over TLS that of the upstream's own host",
        origin.host,
    )


def _parse_entry(entry: str) -> tuple[str, int | None]:
    host, colon, port = entry.rpartition(":")
    if colon and port.isdigit() and (":" not in host or host.endswith("]")):
        return _plain_host(host), int(port)
    return _plain_host(entry), None


_NAT64 = ipaddress.ip_network("64:ff9b::/96")
#: Networks that are not public, though some versions of Python say so: site-local, protocols,
#: documentation, 6to4 relays, and local NAT64.
_SPECIAL = [
    ipaddress.ip_network(text)
    for text in ("fec0::/10", "192.0.0.0/24", "3fff::/20", "192.88.99.0/24", "64:ff9b:1::/48")
]


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, seen through IPv6 transition forms."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour
        if parsed.teredo is not None:
            inner = parsed.teredo[1]
        elif parsed in _NAT64:
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        elif int(parsed) >> 32 == 0:  # ::a.b.c.d, long deprecated
            return False
        if inner is not None:
            return is_public(str(inner))
    if any(parsed in network for network in _SPECIAL):
        return False
    return parsed.is_global and not (
        parsed.is_multicast or parsed.is_reserved or parsed.is_loopback or parsed.is_link_local
    )


def is_spelled_private(host: str) -> bool:
    """Whether a host's name alone says that it is not public, in any spelling of an address.

    Used if names cannot be looked up here. An address in an odd spelling counts as private.
    """
    last = host.rpartition(".")[2]
    is_address = ":" in host or host[-1:].isdigit() or last.startswith("0x")
    return last == "localhost" or (is_address and not is_public(host))
