"""How upstreams are reached: keys of `pypimirror.toml` on proxies, authorities and logins.

What they mean on the line is `pypimirror.download.http.client`'s. A login is held apart from the
address that it came with, so that addresses can be told and kept everywhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pypimirror.config.model import Field, Model, field_validator, model_validator
from pypimirror.config.values import SecretStr
from pypimirror.domain.addresses import NONE, basic, login_of, parse_proxy, without_login
from pypimirror.system.logins import Keyring


class WayKeys(Model):
    """The way to an upstream, or to all of them."""

    proxy: SecretStr = Field(
        SecretStr(""),
        description="A proxy for everything that is asked for: `http://host:3128`, `https://…`, "
        "`socks5://…`, or `socks5h://…`, which looks names up itself; it may hold a login. `none`: "
        "no proxy. Empty: of an upstream that of `[download]`, and there what `HTTPS_PROXY`, "
        "`HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say, which do not count otherwise.",
    )
    ca_file: Path | None = Field(
        None,
        description="A file, or a directory, with the certificates of the authorities that are "
        "trusted, in PEM; no others are then. Relative to the configuration file. Empty: of an "
        "upstream that of `[download]`, and there what `REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE`, "
        "`SSL_CERT_FILE` and `SSL_CERT_DIR` say, else the system's.",
    )

    @field_validator("proxy")
    @classmethod
    def _is_a_proxy(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() not in ("", NONE):
            parse_proxy(value.get_secret_value())
        return value


class LoginKeys(Model):
    """The login at an upstream."""

    username: str = Field("", description="For a login by name and password.")
    password: SecretStr = Field(
        SecretStr(""),
        description="Better in the environment, as `PYPIMIRROR_UPSTREAM_<NAME>_PASSWORD`, where "
        "`_USERNAME` and `_TOKEN` can be, too; or in netrc. The name is the upstream's in "
        "capitals, with `_` for all that is neither letter nor digit.",
    )
    token: SecretStr = Field(
        SecretStr(""), description="For a login by bearer token, instead of name and password."
    )
    login: Literal["", "pip", "uv"] = Field(
        "",
        description="Where no login is given here: use that with which pip, or uv, is configured "
        "for the same address on this machine, and pip's for the same `proxy`. It is looked up "
        "when a command begins, and so is written down in no second place. Where the upstream "
        "refuses (401), the program `keyring` is asked, if pip, or uv, would ask a keyring.",
    )
    _keyring: Keyring | None = None

    @property
    def keyring(self) -> Keyring | None:
        """The keyring that is asked for the login where the upstream refuses."""
        return self._keyring

    @field_validator("password", "token")
    @classmethod
    def _is_one_line(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().isprintable():
            raise ValueError("must be one line of printable characters")
        return value

    @model_validator(mode="before")
    @classmethod
    def _split_address(cls, values: Any) -> Any:
        """Take the login out of the address."""
        if not isinstance(values, dict) or not isinstance(values.get("url"), str):
            return values
        try:
            login = login_of(values["url"])
        except ValueError:  # no address at all, which is told by the field's own check
            return values
        if login is None:
            return values
        if {"username", "password", "token"} & values.keys():
            raise ValueError("url: holds a login, and there is another beside it; keep one of them")
        values = values | {"url": without_login(values["url"])}
        return values | {"username": login[0], "password": login[1]}

    @model_validator(mode="after")
    def _has_one_login(self) -> LoginKeys:
        has_token = bool(self.token.get_secret_value())
        if has_token and (self.username or self.password.get_secret_value()):
            raise ValueError("token: there is a username or password, too; keep one of them")
        if not self.username.isprintable() or ":" in self.username:
            raise ValueError("username: must be printable, without a colon")
        return self

    @property
    def is_whole(self) -> bool:
        """Whether there is a login that lacks no password."""
        return bool(self.token.get_secret_value() or self.password.get_secret_value())

    @property
    def authorization(self) -> str:
        """The value of the Authorization header; empty where there is no login."""
        if token := self.token.get_secret_value():
            return f"Bearer {token}"
        if self.username or self.password.get_secret_value():
            return basic(self.username, self.password.get_secret_value())
        return ""


_VARIABLE = re.compile(r"PYPIMIRROR_UPSTREAM_([A-Z0-9_]+)_(USERNAME|PASSWORD|TOKEN)")


def logins_from_environment(names: list[str]) -> dict[str, dict[str, str]]:
    """Return what `PYPIMIRROR_UPSTREAM_<NAME>_<KEY>` says, by name and key.

    Raises `ValueError` where a variable is for nobody, or for two.
    """
    return _logins(names, os.environ)


def _logins(names: list[str], environment: Mapping[str, str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for variable, value in environment.items():
        match = _VARIABLE.fullmatch(variable)
        if match is None or "__" in variable:
            continue
        meant = [name for name in names if _spelled(name) == match[1]]
        if len(meant) != 1:
            of = " and ".join(meant) if meant else "no upstream"
            raise ValueError(f"{variable}: is for {of}; rename it, or one of them")
        found.setdefault(meant[0], {})[match[2].lower()] = value
    return found


def _spelled(name: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")
