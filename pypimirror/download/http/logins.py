"""Which login an origin is asked with.

A login goes to the origin that it was given for, and to no other: not to another port or scheme of
its host, to which a link or a redirect may lead. The first of these counts that has one: the
configuration, netrc, and after a refusal (401) a keyring, where the configuration has one asked.
That is the order of pip, which never asks a keyring before it is refused.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from gevent.lock import BoundedSemaphore

from pypimirror.domain.addresses import basic
from pypimirror.domain.model import Reason
from pypimirror.download.failure import FetchError
from pypimirror.download.http.hosts import HostPolicy, Origin
from pypimirror.download.protocol import Remote
from pypimirror.system import clock
from pypimirror.system.logins import (
    Keyring,
    KeyringError,
    keyring_login,
    keyring_program,
    look_there,
    netrc_login,
)

#: Seconds before a keyring is asked again: a login of a company's may end within an hour.
AGAIN = 60.0


class Login(NamedTuple):
    """How a request is authorised."""

    authorization: str = ""  #: the header's value, empty for no login
    source: str = ""  #: "given", "netrc" or "keyring"


def login_for(remote: Remote, policy: HostPolicy, origin: Origin) -> Login:
    """Return the login for an origin that has refused nothing yet.

    The upstream's own login, and that of netrc for its host, are for its own origin alone. A host
    that `hosts` names may have an entry of its own in netrc; that is not sent unprotected where the
    upstream is protected.
    """
    if origin == policy.own:
        if remote.authorization:
            return Login(remote.authorization, "given")
        return _of_netrc(origin, or_default=True)
    unprotected = policy.own.scheme == "https" and origin.scheme == "http"
    if origin.host == policy.own.host or unprotected or not policy.names(origin):
        return Login()
    return _of_netrc(origin)


def _of_netrc(origin: Origin, *, or_default: bool = False) -> Login:
    found = netrc_login(origin.host, or_default=or_default)
    return Login(found, "netrc" if found else "")


class Keyrings:
    """Keyrings that are asked for the logins of upstreams: by one request, while others wait."""

    def __init__(self) -> None:
        self._turn = BoundedSemaphore(1)
        self._asked: dict[str, float] = {}  #: when, by the upstream's name
        self._found: dict[str, Login | KeyringError] = {}

    def after_refusal(self, remote: Remote, keyring: Keyring, refused: Login) -> Login:
        """Return the login to try, after the upstream's own origin has `refused` one.

        That is the same one where a keyring is asked only if there is one, and there is none.
        Raises `FetchError`.
        """
        with self._turn:
            found = self._found.get(remote.name)
            is_news = isinstance(found, Login) and found != refused
            if not is_news and clock.steady() - self._asked.get(remote.name, -AGAIN) >= AGAIN:
                found = self._found[remote.name] = _ask(keyring)
                self._asked[remote.name] = clock.steady()
        if found == refused:
            found = KeyringError("the login that it has is refused", look_there(keyring))
        if isinstance(found, Login):
            return found
        if not keyring.said and not keyring_program():
            return refused
        assert found is not None
        raise _failure(remote, keyring, found)


def _ask(keyring: Keyring) -> Login | KeyringError:
    try:
        return Login(basic(*keyring_login(keyring)), "keyring")
    except KeyringError as error:
        return error


def _failure(remote: Remote, keyring: Keyring, error: KeyringError) -> FetchError:
    said = f" {keyring.said}" if keyring.said else ""
    host = urlsplit(remote.url).hostname
    return FetchError(
        Reason.HTTP_STATUS,
        f"{remote.url} asks for a login (status 401), and the keyring{said} gave none that works: "
        f"{error}. {error.step}, or put a login for {host} into ~/.netrc.",
        status=401,
    )
