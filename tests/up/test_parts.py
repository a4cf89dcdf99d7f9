"""What the parts are given: commands, environment, ports; and what they are asked."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pypimirror.config.settings import Config, ConfigError, parse
from pypimirror.up import asking
from pypimirror.up.asking import NoAnswerError, answers, ask
from pypimirror.up.notify import notify
from pypimirror.up.parts import Parts, PlaceError, plan, prepare
from pypimirror.up.ports import reserve

URL = "http://127.0.0.1:9/simple/"


def config(tmp_path: Path, **sections: Any) -> Config:
    values = {"prefect": {"port": 0}, "up": {"port": 0}, **sections}
    return parse({"upstream": [{"url": URL}], **values}, tmp_path / "pypimirror.toml")


def planned(tmp_path: Path, *, web: bool = True, server: bool = True, **sections: Any) -> Parts:
    return plan(config(tmp_path, **sections), tmp_path / "p.toml", web=web, server=server)


def environment(parts: Parts) -> dict[str, str]:
    assert parts.worker.environment == parts.deploy.environment
    return dict(parts.worker.environment)


def test_nothing_of_a_persons_prefect_reaches_the_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("API_URL", "API_KEY", "PROFILE", "PROFILES_PATH", "HOME"):
        monkeypatch.setenv(f"PREFECT_{name}", "mine")
    monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "DEBUG")
    parts = planned(tmp_path)
    found = environment(parts)
    home = tmp_path / "mirror/.pypimirror/prefect"
    assert "mine" not in found.values()
    assert found["PREFECT_HOME"] == str(home)
    assert found["PREFECT_API_URL"] == parts.api
    assert found["PREFECT_API_DATABASE_CONNECTION_URL"] == (
        f"sqlite+aiosqlite:///{home / 'prefect.db'}"
    )
    assert found["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert found["DO_NOT_TRACK"] == "1"
    assert found["PYPIMIRROR_CONFIG"] == str(tmp_path / "p.toml")
    assert found["PREFECT_LOGGING_LEVEL"] == "DEBUG", "what is not about where stays"
    assert {part.directory for part in (parts.worker, parts.deploy)} == {home}


@pytest.mark.parametrize("writable", [True, False])
def test_the_ui_is_put_where_the_user_of_a_service_may_write(
    writable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect's server has no UI where it cannot write into its own package."""
    name, access = "PREFECT_UI_STATIC_DIRECTORY", os.access
    home = tmp_path / "mirror/.pypimirror/prefect"

    def may(path: Any, mode: int) -> bool:
        return access(path, mode) and (writable or not str(path).endswith("prefect/server"))

    monkeypatch.setattr(os, "access", may)
    found = environment(planned(tmp_path)).get(name)
    assert found == (None if writable else str(home / "ui"))
    monkeypatch.setenv(name, "/somewhere")
    assert environment(planned(tmp_path))[name] == "/somewhere"


@pytest.mark.parametrize("name", ["SERVER", "API"])
def test_the_database_is_the_configurations_else_the_environments(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"PREFECT_{name}_DATABASE_CONNECTION_URL"
    monkeypatch.setenv(variable, "postgresql+asyncpg://theirs")

    def databases(**sections: Any) -> list[str]:
        found = environment(planned(tmp_path, **sections))
        return [value for key, value in found.items() if key.endswith("DATABASE_CONNECTION_URL")]

    assert databases() == ["postgresql+asyncpg://theirs"]
    assert databases(prefect={"port": 0, "database": "postgresql+asyncpg://ours"}) == [
        "postgresql+asyncpg://ours"
    ]


def test_without_a_server_the_one_that_is_named_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="PREFECT_API_URL must name a Prefect server"):
        planned(tmp_path, server=False)
    monkeypatch.setenv("PREFECT_API_URL", "https://prefect.example.org/api/")
    monkeypatch.setenv("PREFECT_API_KEY", "key")
    parts = planned(tmp_path, server=False, web=False)
    assert (parts.server, parts.web) == (None, None)
    found = environment(parts)
    assert found["PREFECT_API_URL"] == parts.api == "https://prefect.example.org/api"
    assert found["PREFECT_API_KEY"] == "key"
    assert not [name for name in found if name.endswith("DATABASE_CONNECTION_URL")]


def test_no_proxy_comes_between_the_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "intranet.example.org")
    found = environment(planned(tmp_path))
    assert found["NO_PROXY"] == found["no_proxy"] == "intranet.example.org,127.0.0.1,localhost,::1"


def test_a_port_that_is_taken_is_said_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {taken}: .* --prefect-port; 0 takes any"):
            planned(tmp_path, prefect={"port": taken})
        with pytest.raises(ConfigError, match=rf"port {taken}: .* --port; 0 takes any"):
            planned(tmp_path, up={"port": taken})


def test_a_reserved_port_is_free_for_the_part_again_and_again() -> None:
    place = reserve("127.0.0.1", 0, "")
    for _ in range(2):
        with socket.create_server(("127.0.0.1", place.port)):
            pass
    assert reserve("127.0.0.1", 0, "").port != place.port


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:1"),
        ("0.0.0.0", "http://127.0.0.1:1"),
        ("::", "http://[::1]:1"),
        ("::1", "http://[::1]:1"),
    ],
)
def test_how_a_place_is_said_to_a_client_on_this_machine(host: str, url: str) -> None:
    from pypimirror.up.ports import ListenAddress

    assert ListenAddress(host, 1).url == url


def test_what_prefect_keeps_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Its database holds the address of the webhook, which is a secret, and the key to it."""
    prepare(config(tmp_path))
    prepare(config(tmp_path))
    assert (tmp_path / "mirror/.pypimirror/prefect").stat().st_mode & 0o777 == 0o700


def test_no_place_for_what_prefect_keeps_is_said(tmp_path: Path) -> None:
    (tmp_path / "mirror").write_text("in the way")
    with pytest.raises(
        PlaceError, match=r"mirror/\.pypimirror/prefect: cannot be made: File exists"
    ):
        prepare(config(tmp_path))


# --- What is asked ------------------------------------------------------------------------------


@contextmanager
def answering(answer: bytes, heard: list[bytes] | None = None) -> Iterator[str]:
    """A server that says this to everybody and hangs up; its address. It notes what it heard."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    said = connection.recv(1 << 16)
                    if heard is not None:
                        heard.append(said)
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        listener.shutdown(socket.SHUT_RDWR)


def test_a_document_is_understood() -> None:
    with answering(b'HTTP/1.1 200 OK\r\nX: y\r\n\r\n{"a": 1}') as url:
        assert asyncio.run(ask(url)) == {"a": 1}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 503 Busy\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n\r\n<html>",
        b"HTTP/1.1\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000,
        b"HTTP/1.1 200 OK\r\n\r\n\xff",
    ],
)
def test_anything_else_is_no_answer(answer: bytes) -> None:
    with answering(answer) as url, pytest.raises(NoAnswerError):
        asyncio.run(ask(url))


def test_nobody_there_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    place = reserve("127.0.0.1", 0, "")
    with pytest.raises(NoAnswerError):
        asyncio.run(ask(place.url))
    assert asyncio.run(answers(place.url)) is False
    monkeypatch.setattr(asking, "TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(NoAnswerError):
        asyncio.run(ask(f"http://127.0.0.1:{silent.getsockname()[1]}/"))


@pytest.mark.parametrize(
    ("variables", "login", "expected"),
    [
        ({}, "", None),
        ({}, "me:s%20t@", "me:s t"),
        ({"PREFECT_API_KEY": "k"}, "me:s@", "Bearer k"),
        ({"PREFECT_API_KEY": "k", "PREFECT_API_AUTH_STRING": "a:b"}, "", "a:b"),
    ],
)
def test_it_proves_who_it_is_as_clients_of_prefect_do(
    variables: dict[str, str], login: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`doctor` heeded the key first, and `up` no login of the address."""
    for name in ("PREFECT_API_KEY", "PREFECT_API_AUTH_STRING"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    heard: list[bytes] = []
    with answering(b"HTTP/1.1 200 OK\r\n\r\n1", heard) as url:
        assert asyncio.run(ask(url.replace("//", f"//{login}"))) == 1
    said = re.findall(rb"\r\nauthorization: (.*)\r\n", heard[0], re.I)
    if expected and ":" in expected:
        expected = "Basic " + base64.b64encode(expected.encode()).decode()
    assert [value.decode() for value in said] == ([expected] if expected else [])


def test_a_proxy_is_between_for_others_and_never_on_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[bytes] = []
    with answering(b"HTTP/1.1 200 OK\r\n\r\n1", heard) as proxy:
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setenv("HTTP_PROXY", proxy.removesuffix("/api"))
        monkeypatch.setenv("http_proxy", proxy.removesuffix("/api"))
        assert asyncio.run(ask("http://prefect.invalid/api/health")) == 1
        with answering(b"HTTP/1.1 200 OK\r\n\r\n2") as url:
            assert asyncio.run(ask(url)) == 2
    assert [each.split(b"\r\n")[0] for each in heard] == [
        b"GET http://prefect.invalid/api/health HTTP/1.1"
    ]


def test_an_answer_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_LARGEST", 1000)
    with answering(b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 5000 + b"1") as url:
        with pytest.raises(NoAnswerError, match="more than 1000 bytes"):
            asyncio.run(ask(url))
        assert asyncio.run(answers(url)) is True


def test_a_web_server_that_has_nothing_yet_answers() -> None:
    with answering(b"HTTP/1.1 404 Not Found\r\n\r\n") as url:
        assert asyncio.run(answers(url)) is True


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = "@pypimirror-test" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("\0" + address[1:] if abstract else address)
        channel.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        notify("READY=1")
        assert channel.recv(100) == b"READY=1"
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify("READY=1")  # nobody listens, and nothing happens
