"""Promise: what an upstream says never chooses a host unchecked, also while uv resolves."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pypimirror.domain.addresses import basic
from pypimirror.download.http import hosts
from pypimirror.download.protocol import Remote
from pypimirror.resolve import ways
from pypimirror.resolve.child import NoResultError, ResolveError
from pypimirror.resolve.proxy import ResolverProxy
from pypimirror.resolve.uv import Indexes, ResolveRequest, Uv
from tests.corpus.build import make_wheel
from tests.download.proxying import TestProxy
from tests.gateway import FILES, INDEX, address, gateway
from tests.resolve.test_uv import chosen
from tests.simulator import IndexFile, Simulator


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def away() -> Iterator[Simulator]:
    """Another machine, which an upstream's pages name."""
    with Simulator() as running:
        yield running


@pytest.fixture
def linked(simulator: Simulator, away: Simulator) -> IndexFile:
    """A file of the upstream that its page says to be on the other machine."""
    name, content = make_wheel("app", "1.0")
    file = away.add_file("app", name, content, core_metadata=True)
    page = f'<a href="{away.root}{file.path}" data-core-metadata="true">{name}</a>'
    simulator.page("app", page, "text/html")
    return file


def place(simulator: Simulator) -> str:
    return urlsplit(simulator.url).netloc


def ask(proxy: ResolverProxy, head: str, *, knows: bool = True) -> bytes:
    """Send a request to the proxy as it is, and return everything that comes."""
    parts = urlsplit(proxy.url)
    assert parts.port is not None
    login = basic(parts.username or "", (parts.password or "") if knows else "guessed")
    with socket.create_connection(("127.0.0.1", parts.port), 30) as sock:
        sock.sendall(f"{head} HTTP/1.1\r\nProxy-Authorization: {login}\r\n\r\n".encode())
        said = b""
        while more := sock.recv(1 << 16):
            said += more
    return said


def resolved(resolver: Uv, simulator: Simulator, proxy: ResolverProxy) -> dict[str, str]:
    return chosen(
        resolver.resolve(ResolveRequest(("app",)), Indexes(f"{simulator.url}", proxy=proxy.url))
    )


def test_uv_asks_no_host_that_only_a_page_names(
    simulator: Simulator, away: Simulator, linked: IndexFile, resolver: Uv
) -> None:
    why = r"403 .*is not a host of the upstream 'sim'"
    with (
        ResolverProxy((Remote("sim", simulator.url),)) as proxy,
        pytest.raises(NoResultError, match=why),
    ):
        resolved(resolver, simulator, proxy)
    assert away.requests == []
    (said,) = proxy.refused
    assert said.startswith(f"{away.root} is not a host")
    assert said.endswith("set in the [[upstream]] 'sim': hosts = [\"127.0.0.1\"]")


def test_uv_asks_a_host_that_the_configuration_names(
    simulator: Simulator, away: Simulator, linked: IndexFile, resolver: Uv
) -> None:
    with ResolverProxy((Remote("sim", simulator.url, hosts=(place(away),)),)) as proxy:
        assert resolved(resolver, simulator, proxy) == {"app": "1.0"}
    assert away.requests and proxy.refused == []


def test_a_star_allows_no_private_address(
    simulator: Simulator, away: Simulator, linked: IndexFile
) -> None:
    with ResolverProxy((Remote("sim", simulator.url, hosts=("*",)),)) as proxy:
        said = ask(proxy, f"GET {away.root}{linked.path}")
        assert said.startswith(b"HTTP/1.1 403 127.0.0.1 is at 127.0.0.1, which is not a public")
        for spelled in ("localhost", "[::1]", "[::ffff:127.0.0.1]"):
            said = ask(proxy, f"CONNECT {spelled}:{urlsplit(away.root).port}")
            assert said.startswith((b"HTTP/1.1 403 ", b"HTTP/1.1 502 ")), spelled
    assert away.requests == []
    assert away.connections == 0


def test_redirects_are_held_by_the_same_rule(
    simulator: Simulator, away: Simulator, linked: IndexFile, resolver: Uv
) -> None:
    simulator.redirect("/simple/app/", f"{away.root}/simple/app/")
    with ResolverProxy((Remote("sim", simulator.url),)) as proxy, pytest.raises(ResolveError):
        resolved(resolver, simulator, proxy)
    assert away.requests == [] and len(proxy.refused) == 1


def test_a_refused_connection_says_why(simulator: Simulator) -> None:
    with ResolverProxy((Remote("sim", simulator.url),)) as proxy:
        said = ask(proxy, "CONNECT internal.example:443")
    assert said.startswith(b"HTTP/1.1 403 https://internal.example is not a host of the upstream")
    assert said.endswith(b"set in the [[upstream]] 'sim': hosts = [\"internal.example\"]\n")


def test_one_upstream_allows_for_all_and_none_is_blamed_alone(
    simulator: Simulator, away: Simulator
) -> None:
    with ResolverProxy((Remote("a", simulator.url), Remote("b", away.url))) as proxy:
        assert ask(proxy, f"GET {away.url}").startswith(b"HTTP/1.1 200 ")
        said = ask(proxy, "CONNECT internal.example:443")
    assert b"is not a host of any upstream" in said and b"`hosts` of the [[upstream]]" in said


def test_a_connection_through_it_passes_bytes_both_ways() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with ResolverProxy((Remote("sim", f"https://127.0.0.1:{port}/simple/"),)) as proxy:
            parts = urlsplit(proxy.url)
            login = basic(parts.username or "", parts.password or "")
            with socket.create_connection(("127.0.0.1", parts.port or 0), 30) as sock:
                head = f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nproxy-authorization: {login}\r\n\r\n"
                sock.sendall(head.encode())
                assert sock.recv(100) == b"HTTP/1.1 200 OK\r\n\r\n"
                there, _ = server.accept()
                with there:
                    sock.sendall(b"question")
                    assert there.recv(100) == b"question"
                    there.sendall(b"answer")
                    assert sock.recv(100) == b"answer"
                assert sock.recv(1) == b""


def test_others_on_this_machine_cannot_use_it(simulator: Simulator) -> None:
    with ResolverProxy((Remote("sim", simulator.url),)) as proxy:
        assert ask(proxy, f"GET {simulator.url}", knows=False).startswith(b"HTTP/1.1 407 ")
        assert ask(proxy, f"POST {simulator.url}").startswith(b"HTTP/1.1 400 ")
        assert ask(proxy, "GET /simple/").startswith(b"HTTP/1.1 502 ")
    assert simulator.requests == []


@pytest.mark.parametrize("kind", ["http", "socks5h"])
def test_each_upstream_is_asked_through_its_own_proxy(
    simulator: Simulator, away: Simulator, kind: str
) -> None:
    with TestProxy({"index.invalid": simulator.server.port}, login=("me", "secret")) as outer:
        behind = Remote("a", "http://index.invalid/simple/", proxy=outer.url(kind, "me:secret"))
        with ResolverProxy((behind, Remote("b", away.url))) as proxy:
            assert ask(proxy, "GET http://index.invalid/simple/").startswith(b"HTTP/1.1 200 ")
            assert ask(proxy, f"GET {away.url}").startswith(b"HTTP/1.1 200 ")
            assert proxy.failed == []
        assert [asked.target for asked in outer.asked if "index.invalid" not in asked.target] == []
        assert outer.asked
        (request,) = simulator.requests
        assert "proxy-authorization" not in request.headers


def test_tls_goes_through_a_proxy_by_a_connection(simulator: Simulator) -> None:
    with TestProxy({"index.invalid": simulator.server.port}) as outer:
        remote = Remote("a", "https://index.invalid/simple/", hosts=("*",), proxy=outer.url())
        with ResolverProxy((remote,)) as proxy:
            parts = urlsplit(proxy.url)
            login = basic(parts.username or "", parts.password or "")
            with socket.create_connection(("127.0.0.1", parts.port or 0), 30) as sock:
                head = f"CONNECT index.invalid:443 HTTP/1.1\r\nProxy-Authorization: {login}\r\n\r\n"
                sock.sendall(head.encode())
                assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
            assert ask(proxy, "CONNECT localhost:443").startswith(b"HTTP/1.1 403 ")
        assert [(each.kind, each.target) for each in outer.asked] == [
            ("CONNECT", "index.invalid:443")
        ]


def test_an_endless_head_ends(simulator: Simulator) -> None:
    with ResolverProxy((Remote("sim", simulator.url),)) as proxy:
        port = urlsplit(proxy.url).port
        sock = socket.create_connection(("127.0.0.1", port or 0), 30)
        with sock, pytest.raises(OSError, match=r"reset|pipe"):
            for _ in range(1000):
                sock.sendall(b"x" * (1 << 16))


def test_uv_reaches_an_index_over_tls_through_the_proxy_alone(
    tmp_path: Path, resolver: Uv, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the proxy knows where the name leads."""
    monkeypatch.setattr(ways, "_look_up", lambda host, port: ["127.0.0.1"])
    with gateway(tmp_path) as index:
        name, content = make_wheel("app", "1.0")
        index.add_file("app", name, content, core_metadata=True)
        url = f"{address(index, INDEX)}/simple/"
        with ResolverProxy((Remote("sim", url, hosts=(FILES,)),)) as proxy:
            asked = Indexes(url, proxy=proxy.url, ca_file=str(index.ca_file))
            assert chosen(resolver.resolve(ResolveRequest(("app",)), asked)) == {"app": "1.0"}


def test_a_gateway_must_prove_to_be_the_upstreams_own_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "_look_up", lambda host, port: ["127.0.0.1"])
    with gateway(tmp_path) as behind:
        asked = hosts.parse_url(address(behind, FILES))

        def open_for(own: str) -> None:
            remote = Remote("sim", address(behind, own), ("*",), ca_file=str(behind.ca_file))
            ways.Ways((remote,), 30).open(asked).sock.close()

        open_for(INDEX)
        with pytest.raises(hosts.HostError, match="not a public address"):
            open_for("other.test")
        assert behind.requests == []


def test_the_address_that_was_checked_is_connected_to(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that resolves to a public address first, and to a private one then."""
    answers = iter([["93.184.215.14"], ["127.0.0.1"]])
    monkeypatch.setattr(ways, "_look_up", lambda host, port: next(answers))
    asked: list[list[str]] = []

    def connect(_: object, addresses: list[str], port: int) -> socket.socket:
        asked.append(addresses)
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(ways.Ways, "_connect", connect)
    found = ways.Ways((Remote("sim", simulator.url, hosts=("*",)),), 1.0)
    with pytest.raises(ConnectionRefusedError):
        found.open(hosts.parse_url("http://rebinding.example/"))
    assert asked == [["93.184.215.14"]]
