"""Addresses of upstreams and proxies, which may contain a login. No I/O.

This module knows neither the environment nor the configuration, and is fast to import.
"""

from __future__ import annotations

import base64
import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

#: The value of `proxy` that means: no proxy, even if the environment names one.
NONE = "none"

_DEFAULT_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_ADDRESS = re.compile(
    r"(?:(?P<kind>[a-z0-9+.-]+)://)?(?:(?P<login>[^/?#\s]*)@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::(?P<port>[0-9]{1,5}))?/?",
    re.IGNORECASE | re.ASCII,
)


def without_login(url: str) -> str:
    """Return an address without its login, so that it can be shown and stored."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def redacted(text: str) -> str:
    """Return a message without the logins in its addresses."""
    return re.sub(r"://[^/\s'\"]*@", "://", text)


def login_of(url: str) -> tuple[str, str] | None:
    """Return the user name and password in an address; None if it has none."""
    login, at, _ = urlsplit(url).netloc.rpartition("@")
    if not at:
        return None
    user, _, password = login.partition(":")
    return unquote(user), unquote(password)


def basic(user: str, password: str) -> str:
    """Return the value of the Authorization header for a user name and a password."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


class Proxy(NamedTuple):
    """The parts of a proxy's address."""

    kind: str  #: http, https (TLS to the proxy), socks5, or socks5h (the proxy resolves host names)
    host: str
    port: int
    login: tuple[str, str] | None = None

    @property
    def shown(self) -> str:
        """The address for messages, without any login."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.kind}://{host}:{self.port}"


def parse_proxy(text: str) -> Proxy:
    """Parse the address of a proxy. Without a scheme, it is an HTTP proxy.

    Raises `ValueError`. The message never contains a login.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise ValueError("a proxy is an address such as http://proxy.example.org:3128")
    kind = (match["kind"] or "http").lower()
    if kind == "socks":
        kind = "socks5"
    if kind not in _DEFAULT_PORTS:
        raise ValueError(f"{kind!r} is not a kind of proxy; known are {', '.join(_DEFAULT_PORTS)}")
    port = int(match["port"] or _DEFAULT_PORTS[kind])
    if not 0 < port < 65536:
        raise ValueError(f"a proxy cannot have the port {port}")
    login = None
    if match["login"]:
        user, _, password = match["login"].partition(":")
        login = (unquote(user), unquote(password))
    return Proxy(kind, match["host"].strip("[]").lower(), port, login)
