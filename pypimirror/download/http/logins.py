"""Choose the login for an origin.

A login goes only to the origin that it was given for. A link or redirect to another port or scheme
of the same host does not get it. The first source with a login counts: the configuration, then
netrc, then, after a refusal (401), a keyring if the configuration allows that. pip has the same
order, and never asks a keyring before a refusal.
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

#: Seconds before a keyring is asked again: some companies' logins end within an hour.
AGAIN = 60.0


class Login(NamedTuple):
    """The authorization of a request."""

    authorization: str = ""  #: the header's value, empty for no login
    source: str = ""  #: "given", "netrc" or "keyring"


def login_for(remote: Remote, policy: HostPolicy, origin: Origin) -> Login:
    """Return the login for the first request to an origin.

    The upstream's own login, and that of netrc for its host, go to its own origin only. A host in
    `hosts` may have its own entry in netrc; that login is not sent without TLS if the upstream
    itself is asked over TLS.
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
    """Asks keyrings for logins of upstreams. One request asks, and the others wait for it."""

    def __init__(self) -> None:
        self._turn = BoundedSemaphore(1)
        self._asked: dict[str, float] = {}  #: when, by the upstream's name
        self._found: dict[str, Login | KeyringError] = {}

    def after_refusal(self, remote: Remote, keyring: Keyring, refused: Login) -> Login:
        """Return the login to try, after the upstream's own origin has `refused` one.

        Returns the refused one if the keyring is optional and not installed. Raises `FetchError`.
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
        if not keyring.demanded_by and not keyring_program():
            return refused
        assert found is not None
        raise _failure(remote, keyring, found)


def _ask(keyring: Keyring) -> Login | KeyringError:
    try:
        return Login(basic(*keyring_login(keyring)), "keyring")
    except KeyringError as error:
        return error


def _failure(remote: Remote, keyring: Keyring, error: KeyringError) -> FetchError:
    said = f" {keyring.demanded_by}" if keyring.demanded_by else ""
    host = urlsplit(remote.url).hostname
    return FetchError(
        Reason.HTTP_STATUS,
        f"{remote.url} asks for a login (status 401), and the keyring{said} gave none that works: "
        f"{error}. {error.step}, or put a login for {host} into ~/.netrc.",
        status=401,
    )
