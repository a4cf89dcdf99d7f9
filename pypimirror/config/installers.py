"""The index that this machine installs from: the one in pip's configuration, else in uv's.

This module reads files and variables in pip's own order, without pip, which may be missing:

* The files of the system, of the user and of this virtual environment come first, then the file
  that PIP_CONFIG_FILE names, then the variables. A later source wins. PIP_CONFIG_FILE switches the
  user's files off; with /dev/null, it switches all files off. An empty value counts as not set, but
  it hides earlier ones.
* Section [install] wins over [global], and variables win over both.

It asks no server and decides nothing about upstreams. A login is only returned in its own field:
`MachineIndex.url` never contains one.
"""

from __future__ import annotations

import configparser
import contextlib
import locale
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import unquote, urlsplit

from pypimirror.domain.addresses import NONE, without_login
from pypimirror.domain.errors import InstallerError as InstallerError
from pypimirror.system import regular

Installer = Literal["pip", "uv"]
Login = tuple[str, str | None]  #: name and password
Provider = Literal["auto", "import", "subprocess", "disabled"]

#: Options of pip on other indexes, or on how to ask them. They are not used, and this is reported.
_LEFT = ("extra-index-url", "find-links", "no-index", "trusted-host", "client-cert")
_UV_KEYRING = "UV_KEYRING_PROVIDER"
_UV_LEFT = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_NO_INDEX")


@dataclass(frozen=True)
class MachineIndex:
    """An index and the way to it. Values that are not configured are empty."""

    by: Installer
    url: str = ""  #: without a login
    source: str = ""  #: where the index is configured: a variable or a file
    login: Login | None = field(default=None, repr=False)
    ca_file: str = ""
    #: With its login, if it has one; `NONE` if the environment's proxies are ignored too.
    proxy: str = field(default="", repr=False)
    provider: Provider = "disabled"  #: how a keyring is asked after a refusal
    provider_source: str = ""  #: where that is configured; "": nowhere
    left: tuple[str, ...] = ()  #: configured options that are not used
    #: Further indexes without their logins, and the login of each.
    others: tuple[tuple[str, Login | None], ...] = field(default=(), repr=False)


def machine_index(
    environment: Mapping[str, str] = os.environ, prefix: str = sys.prefix
) -> MachineIndex:
    """Return the index that this machine installs from. Its `url` is "" if none is configured.

    Raises `InstallerError`.
    """
    found = pip_index(environment, prefix)
    if found.url or not (other := uv_index(environment)).url:
        return found
    left = found.left + other.left
    return replace(other, ca_file=found.ca_file, proxy=found.proxy, left=left)


def pip_index(
    environment: Mapping[str, str] = os.environ, prefix: str = sys.prefix
) -> MachineIndex:
    """Return the index of pip's configuration. Raises `InstallerError`."""
    values = _merged(environment, prefix)
    # pip has two names for this option. The last one counts.
    spelled = [values[key] for key in values if key in ("index-url", "pypi-url")]
    url, source = spelled[-1] if spelled else ("", "")
    left = [key for key in _LEFT if _is_set(key, values)]
    provider, provider_source = _provider(values)
    if not url.startswith("https:") and "trusted-host" in left:
        left.remove("trusted-host")  # plain http needs no trust
    return MachineIndex(
        "pip",
        *_address(url, source),
        login=_login(url),
        ca_file=values.get("cert", ("", ""))[0],
        proxy=values.get("proxy", ("", ""))[0] or (NONE if _is_set("no-proxy-env", values) else ""),
        provider=provider,
        provider_source=provider_source,
        left=tuple(left),
        others=tuple(_others(values.get("extra-index-url", ("", ""))[0])),
    )


def uv_index(environment: Mapping[str, str] = os.environ) -> MachineIndex:
    """Return the index of uv's variables. Raises `InstallerError`."""
    is_asked = environment.get(_UV_KEYRING) == "subprocess"
    index = MachineIndex(
        "uv",
        provider="subprocess" if is_asked else "disabled",
        provider_source=_UV_KEYRING,
        others=tuple(
            other
            for variable in ("UV_INDEX", "UV_EXTRA_INDEX_URL")
            for other in _others(environment.get(variable, ""), environment)
        ),
    )
    for variable in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        if text := environment.get(variable, "").strip():
            name, url = _named(text)
            login = _uv_login(name, environment) or _login(url)
            left = tuple(key for key in _UV_LEFT if environment.get(key))
            address = _address(url, variable)
            return replace(index, url=address[0], source=address[1], login=login, left=left)
    return index


def _address(url: str, source: str) -> tuple[str, str]:
    """Return an index's address without its login, and where it is configured."""
    if url and "://" not in url and Path(url).exists():  # pip accepts a directory as well
        url = Path(url).absolute().as_uri()
    try:
        return without_login(url), source
    except ValueError as error:
        raise InstallerError(f"{source}: the address of the index is not valid: {error}") from error


def _others(
    text: str, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[str, Login | None]]:
    """Yield further indexes and their logins. With the environment, uv's rules apply.

    Invalid ones are skipped.
    """
    for entry in text.split():
        name, url = ("", entry) if environment is None else _named(entry)
        with contextlib.suppress(ValueError):
            yield without_login(url), _uv_login(name, environment or {}) or _login(url)


def _login(url: str) -> Login | None:
    """Return the login in an address as pip reads it: the password may be missing."""
    login, at, _ = urlsplit(url).netloc.rpartition("@")
    if not at:
        return None
    user, colon, password = login.partition(":")
    return unquote(user), unquote(password) if colon else None


def _named(text: str) -> tuple[str, str]:
    """Split an index of uv's variables: an address, or a name and an address."""
    name, equals, url = text.partition("=")
    if equals and "://" in url and not any(character in name for character in ":/?#"):
        return name, url
    return "", text


def _uv_login(name: str, environment: Mapping[str, str]) -> Login | None:
    spelled = "".join(c if c.isalnum() else "_" for c in name.upper())
    user = environment.get(f"UV_INDEX_{spelled}_USERNAME")
    password = environment.get(f"UV_INDEX_{spelled}_PASSWORD")
    if not name or (user is None and password is None):
        return None
    return user or "", password


_Values = dict[str, tuple[str, str]]
_SWITCHES = ("no-index", "no-input", "no-proxy-env")
_PROVIDERS: dict[str, Provider] = {p: p for p in get_args(Provider)}


def _is_set(key: str, values: _Values) -> bool:
    if key not in values:
        return False
    return key not in _SWITCHES or values[key][0].lower() in ("y", "yes", "t", "true", "on", "1")


def _provider(values: _Values) -> tuple[Provider, str]:
    """Return how a keyring is asked, and where that is set. "auto", the default, might prompt."""
    value, source = values.get("keyring-provider", ("auto", ""))
    if value not in _PROVIDERS:
        known = ", ".join(_PROVIDERS)
        raise InstallerError(f"{source}: pip has no keyring-provider {value!r}; it has {known}")
    if value == "auto" and _is_set("no-input", values):
        value = "disabled"
    return _PROVIDERS[value], source


def _merged(environment: Mapping[str, str], prefix: str) -> _Values:
    """Return pip's options for `pip install`, each with its source. The last source wins."""
    sections: dict[str, _Values] = {"global": {}, "install": {}}
    for file in _files(environment, prefix):
        for section, key, value in _read(file):
            if section in sections:
                sections[section][key] = (value.strip(), str(file))
    sections["env"] = {
        _key(name[4:]): (value.strip(), name)
        for name, value in environment.items()
        if name.startswith("PIP_")
    }
    merged: _Values = {}
    for section_values in sections.values():
        for key, (value, where) in section_values.items():
            if value:
                merged.pop(key, None)
                merged[key] = value, where
    return merged


def _files(environment: Mapping[str, str], prefix: str) -> Iterator[Path]:
    own = environment.get("PIP_CONFIG_FILE")
    if own == os.devnull:
        return
    home = Path(environment.get("HOME") or Path.home())
    kept = environment.get("XDG_CONFIG_HOME", "").strip()
    user = Path(kept) if kept else home / ".config"
    if sys.platform == "darwin":
        system = ["/Library/Application Support"]
        support = home / "Library/Application Support"
        user = support if (support / "pip").is_dir() else home / ".config"
    else:
        named = environment.get("XDG_CONFIG_DIRS", "").strip() or "/etc/xdg"
        system = [part for part in named.split(os.pathsep) if part.strip()]
    for directory in system:
        yield Path(directory).expanduser() / "pip/pip.conf"
    if sys.platform != "darwin":
        yield Path("/etc/pip.conf")
    if not (own and Path(own).exists()):
        yield home / ".pip/pip.conf"
        yield user / "pip/pip.conf"
    yield Path(prefix) / "pip.conf"
    if own:
        yield Path(own)


def _read(file: Path) -> Iterator[tuple[str, str, str]]:
    """Yield section, key and value. A file that is missing or not readable is skipped."""
    parser = configparser.RawConfigParser()
    try:
        content = BytesIO(regular.read_written(file))
        parser.read_file(TextIOWrapper(content, locale.getpreferredencoding(False)), str(file))
    except OSError:
        return
    except (configparser.Error, UnicodeDecodeError) as error:
        cause = str(error).splitlines()[0]
        raise InstallerError(f"{file}: pip's configuration cannot be read: {cause}") from error
    for section in parser.sections():
        for name, value in parser.items(section):
            yield section, _key(name), value or ""


def _key(name: str) -> str:
    return name.lower().replace("_", "-").removeprefix("--")
