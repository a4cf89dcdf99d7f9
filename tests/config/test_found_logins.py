"""What an upstream's `login` leads to: the order of pip, and what a keyring is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pypimirror.config.settings import parse
from pypimirror.domain.addresses import basic
from pypimirror.download.protocol import Remote
from pypimirror.pipeline.context.remotes import remotes

URL = "https://index.test/simple/"
NAMED = URL.replace("//", "//me@")
BOTH = (URL, "index.test")
OF_UV = (*BOTH, "https://index.test")


@pytest.fixture(autouse=True)
def _nothing_is_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PIP_INDEX_URL", "PIP_NO_INPUT", "UV_DEFAULT_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def found(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], **keys: Any) -> Remote:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    upstream = {"name": "x", "url": URL, "login": "pip"} | keys
    (remote,) = remotes(parse({"upstream": [upstream]}, Path("/etc/pypimirror.toml")))
    return remote


@pytest.mark.parametrize(
    ("environment", "keys", "services", "username", "sent"),
    [
        # pip asks by default, and without a name; with a name the name goes out before.
        ({}, {}, BOTH, None, ""),
        ({"PIP_INDEX_URL": NAMED}, {}, BOTH, "me", basic("me", "")),
        ({"PIP_INDEX_URL": URL.rstrip("/")}, {}, BOTH, None, ""),
        ({}, {"username": "me"}, BOTH, "me", basic("me", "")),
        ({"PYPIMIRROR_UPSTREAM_X_USERNAME": "me"}, {}, BOTH, "me", basic("me", "")),
        ({"PIP_INDEX_URL": "https://me@other.test/simple"}, {}, BOTH, None, ""),
        ({"PIP_NO_INPUT": "1", "PIP_KEYRING_PROVIDER": "import"}, {}, BOTH, None, ""),
        # A whole login needs none, an empty password included.
        ({"PIP_INDEX_URL": URL.replace("//", "//me:@")}, {}, None, None, basic("me", "")),
        ({}, {"token": "t"}, None, None, "Bearer t"),
        ({}, {"username": "me", "password": "p"}, None, None, basic("me", "p")),
        ({"PYPIMIRROR_UPSTREAM_X_TOKEN": "t"}, {}, None, None, "Bearer t"),
        # Nobody asks.
        ({"PIP_NO_INPUT": "1"}, {}, None, None, ""),
        ({"PIP_KEYRING_PROVIDER": "disabled"}, {"username": "me"}, None, None, basic("me", "")),
        ({"PIP_KEYRING_PROVIDER": "import"}, {"login": ""}, None, None, ""),
        ({"PIP_KEYRING_PROVIDER": "import"}, {"login": "uv", "username": "me"}, None, None, None),
        # uv asks for a name only, by the address as it is written.
        ({"UV_KEYRING_PROVIDER": "subprocess"}, {"login": "uv"}, None, None, ""),
        (
            {"UV_KEYRING_PROVIDER": "subprocess", "UV_DEFAULT_INDEX": NAMED.rstrip("/")},
            {"login": "uv"},
            (URL.rstrip("/"), *OF_UV[1:]),
            "me",
            basic("me", ""),
        ),
        (
            {"UV_KEYRING_PROVIDER": "subprocess"},
            {"login": "uv", "username": "me"},
            OF_UV,
            "me",
            basic("me", ""),
        ),
    ],
)
def test_what_a_keyring_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    keys: dict[str, str],
    services: tuple[str, ...] | None,
    username: str | None,
    sent: str | None,
) -> None:
    remote = found(monkeypatch, environment, **keys)
    if services is None:
        assert remote.keyring is None
    else:
        assert remote.keyring is not None
        assert (remote.keyring.services, remote.keyring.username) == (services, username)
    assert sent is None or remote.authorization == sent


@pytest.mark.parametrize("entry", ["machine index.test", "default"])
def test_netrc_goes_before_a_keyring_whoever_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, entry: str
) -> None:
    """Also by its `default`, as pip has it; the client finds the entry by itself."""
    (tmp_path / "netrc").write_text(f"{entry} login other password p\n")
    remote = found(monkeypatch, {"PIP_INDEX_URL": NAMED})
    assert remote.authorization == ""
    assert remote.keyring is not None and remote.keyring.username == "me"


@pytest.mark.parametrize("provider", ["auto", "import", "subprocess"])
def test_a_setting_that_asks_is_named_and_a_default_is_not(
    monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    remote = found(monkeypatch, {"PIP_KEYRING_PROVIDER": provider})
    assert remote.keyring is not None
    assert ("PIP_KEYRING_PROVIDER" in remote.keyring.demanded_by) is (provider != "auto")


EXTRA = f"https://a:1@other.test/simple {NAMED.replace('me', 'me:p')}"


@pytest.mark.parametrize(
    ("environment", "login"),
    [
        ({"PIP_EXTRA_INDEX_URL": EXTRA}, "pip"),
        ({"UV_INDEX": EXTRA}, "uv"),
        ({"UV_EXTRA_INDEX_URL": EXTRA}, "uv"),
        ({"UV_INDEX": f"https://[x x={URL}", "UV_INDEX_X_USERNAME": "me"}, "uv"),
    ],
)
def test_the_login_of_an_index_that_is_asked_besides(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], login: str
) -> None:
    password = {"UV_INDEX_X_PASSWORD": "p"} if "UV_INDEX_X_USERNAME" in environment else {}
    remote = found(monkeypatch, environment | password, login=login)
    assert (remote.authorization, remote.keyring) == (basic("me", "p"), None)


def test_alternates_are_not_asked_of_a_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    upstream = {"url": URL, "login": "pip", "alternates": ["https://other.test/simple/"]}
    own, other = remotes(parse({"upstream": [upstream]}, Path("/etc/pypimirror.toml")))
    assert own.keyring is not None and other.keyring is None


def test_the_login_of_the_proxy_is_looked_up_beside_a_login_that_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment = {"PIP_PROXY": "http://me:p@proxy.test:1"}
    remote = found(monkeypatch, environment, token="t", proxy="http://proxy.test:1")
    assert (remote.proxy, remote.authorization) == (environment["PIP_PROXY"], "Bearer t")
