"""Logins that pip, or uv, has on this machine for an upstream, for its key `login`.

The order is pip's: the address, netrc, and then a keyring, if the upstream has refused. This module
asks no keyring. It only finds out what to ask a keyring for.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from pypimirror.config.installers import Login, MachineIndex, pip_index, uv_index
from pypimirror.config.sections import UpstreamSection
from pypimirror.domain.addresses import parse_proxy
from pypimirror.system.logins import Keyring, netrc_login


def with_found_login(upstream: UpstreamSection) -> UpstreamSection:
    """Return the upstream with the logins for itself and its proxy that `login` refers to.

    Raises `InstallerError`.
    """
    found = pip_index() if upstream.login == "pip" else uv_index()
    values = dict(upstream)
    proxy = upstream.proxy.get_secret_value()
    if found.proxy and proxy and parse_proxy(found.proxy)[:3] == parse_proxy(proxy)[:3]:
        values["proxy"] = found.proxy
    if upstream.is_whole:
        return UpstreamSection.model_validate(values)
    user, password = upstream.username, None
    url, login = _same(found, upstream.url)
    if login and not user:
        user, password = login
    if password is None and netrc_login(_host(upstream.url), or_default=True):
        values["username"] = ""
    else:
        values |= {"username": user, "password": password or ""}
    whole = UpstreamSection.model_validate(values)
    if password is None:
        whole._keyring = keyring_of(replace(found, url=url), user)
    return whole


def keyring_of(index: MachineIndex, user: str) -> Keyring | None:
    """Return what pip, or uv, would ask a keyring for, with the user name in the address.

    pip asks for the address with exactly one slash at its end, and needs no user name. uv asks for
    the address as it is written, and only if there is a user name.
    """
    url = urlsplit(index.url)
    if index.provider == "disabled" or url.scheme not in ("http", "https"):
        return None
    is_set = index.provider != "auto"
    reason = f"that {index.by} is set to ask ({index.provider_source})" if is_set else ""
    if index.by == "pip":
        return Keyring((index.url.rstrip("/") + "/", url.netloc), user or None, reason)
    services = (index.url, url.netloc, f"{url.scheme}://{url.netloc}")
    return Keyring(services, user, reason) if user else None


def _same(found: MachineIndex, url: str) -> tuple[str, Login | None]:
    """Return the address as pip, or uv, writes it, and its login there."""
    for other, login in ((found.url, found.login), *found.others):
        if other.rstrip("/") == url.rstrip("/"):
            return other, login
    return url, None


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""
