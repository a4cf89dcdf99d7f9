"""How upstreams and object storage are reached: keys on proxies, certificates, logins, buckets.

`pypimirror.download.http.client` uses them. A login is kept apart from its address, so that
addresses can be shown and stored everywhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pypimirror.config.model import Field, Model, field_validator, model_validator
from pypimirror.config.values import SecretStr
from pypimirror.domain.addresses import NONE, basic, login_of, parse_proxy, without_login
from pypimirror.domain.checked import After
from pypimirror.domain.objects import bucket
from pypimirror.system.logins import Keyring


class WayKeys(Model):
    """The way to one upstream, or to all of them."""

    proxy: SecretStr = Field(
        SecretStr(""),
        description="The proxy for all requests: `http://host:3128`, `https://…`, `socks5://…`, or "
        "`socks5h://…`, which resolves host names itself. It may contain a login. `none`: no "
        "proxy. Empty, for an upstream: the proxy of `[download]`. Empty in `[download]`: the "
        "variables `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, which are ignored "
        "otherwise.",
    )
    ca_file: Path | None = Field(
        None,
        description="A file or directory with the certificates of trusted authorities, in PEM. "
        "Then no others are trusted. Relative to the configuration file. Empty, for an upstream: "
        "that of `[download]`. Empty in `[download]`: the variables `REQUESTS_CA_BUNDLE`, "
        "`CURL_CA_BUNDLE`, `SSL_CERT_FILE` and `SSL_CERT_DIR`, else the system's certificates.",
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
        description="Better put it into the environment, as `PYPIMIRROR_UPSTREAM_<NAME>_PASSWORD`, "
        "or into netrc. `_USERNAME` and `_TOKEN` work in the same way. `<NAME>` is the upstream's "
        "name in capitals, with `_` for each character that is neither letter nor digit.",
    )
    token: SecretStr = Field(
        SecretStr(""), description="For a login by bearer token, instead of name and password."
    )
    login: Literal["", "pip", "uv"] = Field(
        "",
        description="Use the login that pip, or uv, has on this machine for the same address, if "
        "no login is given here; also pip's login for the same `proxy`. It is read when a command "
        "begins, so it is stored nowhere else. If the upstream refuses (401), the program "
        "`keyring` is asked, provided that pip, or uv, would ask it.",
    )
    _keyring: Keyring | None = None

    @property
    def keyring(self) -> Keyring | None:
        """The keyring that is asked for the login if the upstream refuses."""
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
        """Move a login out of the address."""
        if not isinstance(values, dict) or not isinstance(values.get("url"), str):
            return values
        try:
            login = login_of(values["url"])
        except ValueError:  # not an address; the check of the field reports it
            return values
        if login is None:
            return values
        if {"username", "password", "token"} & values.keys():
            raise ValueError("url: contains a login, and there is another one; keep one of them")
        values = values | {"url": without_login(values["url"])}
        return values | {"username": login[0], "password": login[1]}

    @model_validator(mode="after")
    def _has_one_login(self) -> LoginKeys:
        has_token = bool(self.token.get_secret_value())
        if has_token and (self.username or self.password.get_secret_value()):
            raise ValueError("token: there is also a username or password; keep one of them")
        if not self.username.isprintable() or ":" in self.username:
            raise ValueError("username: must be printable, without a colon")
        return self

    @property
    def is_whole(self) -> bool:
        """Whether there is a login with a password or token."""
        return bool(self.token.get_secret_value() or self.password.get_secret_value())

    @property
    def authorization(self) -> str:
        """The value of the Authorization header; "" without a login."""
        if token := self.token.get_secret_value():
            return f"Bearer {token}"
        if self.username or self.password.get_secret_value():
            return basic(self.username, self.password.get_secret_value())
        return ""


_VARIABLE = re.compile(r"PYPIMIRROR_UPSTREAM_([A-Z0-9_]+)_(USERNAME|PASSWORD|TOKEN)")


def logins_from_environment(names: list[str]) -> dict[str, dict[str, str]]:
    """Return the values of `PYPIMIRROR_UPSTREAM_<NAME>_<KEY>`, by name and key.

    Raises `ValueError` if a variable matches no upstream or several.
    """
    return _logins(names, os.environ)


def _logins(names: list[str], environment: Mapping[str, str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for variable, value in environment.items():
        match = _VARIABLE.fullmatch(variable)
        if match is None or "__" in variable:
            continue
        matching = [name for name in names if _spelled(name) == match[1]]
        if len(matching) != 1:
            owners = " and ".join(matching) if matching else "no upstream"
            raise ValueError(f"{variable}: matches {owners}; rename it, or one of them")
        found.setdefault(matching[0], {})[match[2].lower()] = value
    return found


def _spelled(name: str) -> str:
    """Return the name of an upstream as it is written in a variable."""
    return re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")


#: The value of `mirror.storage` for a mirror in a directory.
DIRECTORY = "directory"


def _storage(value: str) -> str:
    if value == DIRECTORY:
        return value
    try:
        bucket.parse(value)
    except ValueError as error:
        raise ValueError(f'{error}. Or write "{DIRECTORY}"') from None
    return value


def _endpoint(value: str) -> str:
    if not value:
        return value
    parts = urlsplit(value)
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("has a port that is not a number up to 65535") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http or https address, such as https://s3.example.org")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not have credentials: the AWS SDK finds them elsewhere")
    if parts.query or parts.fragment or parts.path not in ("", "/"):
        raise ValueError("must be a host alone; bucket and prefix belong in mirror.storage")
    return value.rstrip("/")


StorageAddress = Annotated[str, After(_storage)]
Endpoint = Annotated[str, After(_endpoint)]


class S3Section(Model):
    """How object storage is reached, if `mirror.storage` names a bucket.

    The AWS SDK finds the credentials: in the environment, a profile, single sign-on, or the role of
    the machine. It needs `pip install 'pypimirror[s3]'`.
    """

    endpoint: Endpoint = Field(
        "", description="The address of the server. Empty: Amazon's own, for the region."
    )
    region: str = Field(
        "",
        pattern=(r"|[a-z0-9][a-z0-9-]*", "must have only small letters, digits and dashes"),
        description="The region of the bucket. Empty: the region that the AWS SDK finds, else "
        "`us-east-1`.",
    )
    addressing: Literal["auto", "path", "virtual"] = Field(
        "auto",
        description="Where requests name the bucket. `path`: in the path. `virtual`: in the name "
        "of the host. `auto`: `virtual` for Amazon, `path` if `endpoint` is set.",
    )
    connections: int = Field(
        32, ge=1, le=512, description="Maximum number of requests at once, for each process."
    )
    exclusive: bool = Field(
        False,
        description="Promise that only one run at a time writes to the bucket. Only servers "
        "without conditional writes need it. Without the promise, a run refuses such a server, "
        "because two workers could overwrite each other's pages.",
    )

    def bucket(self, address: str) -> bucket.Bucket | None:
        """Return the bucket that `mirror.storage` names; None if it is a directory."""
        if address == DIRECTORY:
            return None
        name, prefix = bucket.parse(address)
        values: dict[str, Any] = {key: getattr(self, key) for key in type(self).model_fields}
        return bucket.Bucket(name, prefix, **values)
