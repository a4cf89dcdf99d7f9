"""Proxies: everything goes through them, over any kind, and a hostile one is borne.

That it does is seen at the proxy, which alone knows where the names lead.
"""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pypimirror.domain.addresses import Proxy, parse_proxy
from pypimirror.domain.model import Reason
from pypimirror.download.protocol import Remote
from tests.download.conftest import BODY, Lab, MakeLab, good, problem
from tests.download.proxying import TestProxy
from tests.simulator import IndexFile, Simulator, Truncate

HOST = "index.invalid"
KINDS = ("http", "socks5h")
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "NETRC")


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def proxy(simulator: Simulator, secure: Simulator) -> Iterator[TestProxy]:
    with TestProxy({HOST: simulator.server.port, "localhost": secure.server.port}) as running:
        yield running


def through(make_lab: MakeLab, simulator: Simulator, proxy: str, **more: object) -> Lab:
    """A fetcher that knows the simulator by a name that only the proxy can find."""
    settings = {"hosts": (), **more}
    fields = {key: settings.pop(key) for key in ("hosts", "authorization") if key in settings}
    return make_lab(
        simulator=simulator,
        remotes=(Remote("sim", f"http://{HOST}/simple/", proxy=proxy, **fields),),
        **settings,
    )


def url(file: IndexFile) -> str:
    return f"http://{HOST}{file.path}"


@pytest.mark.parametrize("kind", KINDS)
def test_http_through_a_proxy(
    make_lab: MakeLab, simulator: Simulator, six: IndexFile, proxy: TestProxy, kind: str
) -> None:
    lab = through(make_lab, simulator, proxy.url(kind))
    for _ in range(2):
        good(lab.file(url(six), size=len(BODY)), lab.path())
    assert lab.page(url=f"http://{HOST}/simple/six/").problem is None
    if kind == "http":
        assert [asked.target for asked in proxy.asked][:2] == [url(six)] * 2
    else:
        assert [asked.target for asked in proxy.asked] == [f"{HOST}:80"]  # one is kept
    assert simulator.requests[0].headers["host"] == HOST
    assert not any("proxy-authorization" in r.headers for r in simulator.requests)


@pytest.mark.parametrize("kind", KINDS)
def test_https_through_a_proxy_is_verified_behind_it(
    make_lab: MakeLab,
    secure: Simulator,
    proxy: TestProxy,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    file = secure.add_file("six", "six-1.0.tar.gz", BODY)
    address = "https://localhost:1/simple/"
    lab = make_lab(remotes=(Remote("sim", address, proxy=proxy.url(kind)),))
    found = problem(lab.file("https://localhost:1" + file.path), Reason.CONNECTION)
    assert "not trusted" in found.message
    trusting = Remote("sim", address, proxy=proxy.url(kind), ca_file=str(secure.ca_file))
    lab = make_lab(remotes=(trusting,))
    for _ in range(2):
        good(lab.file("https://localhost:1" + file.path, size=len(BODY)), lab.path())
    assert secure.connections == 2  # the one that was not trusted, and one that was kept
    assert {asked.target for asked in proxy.asked} == {"localhost:1"}


def test_https_through_a_proxy_that_is_spoken_to_over_tls(
    make_lab: MakeLab, secure: Simulator, simulator: Simulator, six: IndexFile
) -> None:
    file = secure.add_file("six", "six-1.0.tar.gz", BODY)
    names = {"localhost": secure.server.port, HOST: simulator.server.port}
    with TestProxy(names, context=secure.context, login=("me", "pa:ss word")) as proxy:
        settings = {
            "proxy": proxy.url("https", "me:pa%3Ass%20word"),
            "ca_file": str(secure.ca_file),
        }
        lab = make_lab(remotes=(Remote("sim", "https://localhost:1/simple/", **settings),))
        for _ in range(3):  # over one connection
            good(lab.file("https://localhost:1" + file.path, size=len(BODY)), lab.path())
        secure.fault(file, Truncate(1000))
        found = problem(lab.file("https://localhost:1" + file.path), Reason.TRUNCATED)
        assert found.attempts > 1
        asked = len(proxy.asked)
        assert asked == found.attempts, "what was cut off is not used again"
        proxy.asked.clear()
        lab = make_lab(remotes=(Remote("sim", "https://localhost:1/simple/", **settings),))
        secure.heal()
        good(lab.file("https://localhost:1" + file.path, size=len(BODY)), lab.path())
        lab = make_lab(remotes=(Remote("sim", f"http://{HOST}/simple/", **settings),))
        good(lab.file(url(six), size=len(BODY)), lab.path())
        assert [asked.kind for asked in proxy.asked] == ["CONNECT", "GET"]
        for index in ("https://localhost:1/simple/", f"http://{HOST}/simple/"):
            lab = make_lab(remotes=(Remote("sim", index, proxy=settings["proxy"]),))
            found = problem(lab.file(index + "x"), Reason.CONNECTION)  # of an unknown authority
            assert "certificate" in found.message.lower()
            assert "pa:ss" not in repr(found) and "%3A" not in repr(found)
        assert len(proxy.asked) == 2


#: As in a download worker, where TLS is gevent's; in the tests' own process it is not.
PATCHED = """
from gevent import monkey; monkey.patch_all()
import sys, gevent
from pypimirror.download.http.client import Client
from pypimirror.download.protocol import Hello, Remote

url, proxy, ca_file = sys.argv[1:]
remote = Remote("sim", url, proxy=proxy, ca_file=ca_file)
client = Client(Hello(user_agent="test", timeout=30.0, remotes=(remote,)))

def fetch():
    raw = client.get("sim", url, {}).raw
    return sum(len(piece) for piece in iter(raw.next_piece, b""))

print(sum(job.value for job in gevent.joinall([gevent.spawn(fetch) for _ in range(5)])), fetch())
"""


@pytest.mark.thorough
def test_tls_within_tls_lets_other_transfers_go_on(secure: Simulator) -> None:
    file = secure.add_file("six", "six-1.0.tar.gz", BODY)
    with TestProxy({"localhost": secure.server.port}, context=secure.context) as proxy:
        arguments = (f"https://localhost:1{file.path}", proxy.url("https"), str(secure.ca_file))
        command = [sys.executable, "-c", PATCHED, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.stdout.split() == [str(5 * len(BODY)), str(len(BODY))], done.stderr
        assert len(proxy.asked) == 5, "the sixth went over a kept connection"


@pytest.mark.parametrize(
    ("variable", "kind"),
    [
        ("HTTP_PROXY", "http"),
        ("http_proxy", "http"),
        ("ALL_PROXY", "socks5h"),
        ("all_proxy", "http"),
    ],
)
def test_proxy_of_the_environment(
    make_lab: MakeLab,
    simulator: Simulator,
    six: IndexFile,
    proxy: TestProxy,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    kind: str,
) -> None:
    monkeypatch.setenv(variable, proxy.url(kind))
    lab = through(make_lab, simulator, "")
    good(lab.file(url(six), size=len(BODY)), lab.path())
    assert len(proxy.asked) == 1


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
def test_proxy_of_the_environment_for_https(
    make_lab: MakeLab,
    secure: Simulator,
    proxy: TestProxy,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    file = secure.add_file("six", "six-1.0.tar.gz", BODY)
    monkeypatch.setenv(variable, proxy.url())
    remote = Remote("sim", "https://localhost:1/simple/", ca_file=str(secure.ca_file))
    lab = make_lab(remotes=(remote,))
    good(lab.file("https://localhost:1" + file.path, size=len(BODY)), lab.path())
    assert [asked.kind for asked in proxy.asked] == ["CONNECT"]


@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize("value", ["127.0.0.1", "other.test, 127.0.0.1", "*", "127.0.0.0/8"])
def test_what_no_proxy_names_is_asked_directly(
    make_lab: MakeLab,
    six: IndexFile,
    proxy: TestProxy,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy.url())
    monkeypatch.setenv(variable, value)
    lab = make_lab()
    good(lab.file(six), lab.path())
    assert proxy.asked == []


def test_the_configuration_wins_over_the_environment(
    make_lab: MakeLab,
    simulator: Simulator,
    six: IndexFile,
    proxy: TestProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "*")
    lab = through(make_lab, simulator, proxy.url())
    good(lab.file(url(six), size=len(BODY)), lab.path())
    monkeypatch.delenv("NO_PROXY")
    lab = make_lab(remotes=(Remote("sim", simulator.url, proxy="none"),))
    good(lab.file(six), lab.path())
    assert len(proxy.asked) == 1


@pytest.mark.parametrize("kind", [*KINDS, "https"])
def test_login_at_a_proxy(
    make_lab: MakeLab, simulator: Simulator, six: IndexFile, secure: Simulator, kind: str
) -> None:
    context = secure.context if kind == "https" else None
    names = {HOST: simulator.server.port}
    with TestProxy(names, login=("me", "s@cret"), context=context) as proxy:
        for login in ("me:s%40cret", "", "me:wr0ng"):
            remote = Remote(
                "sim",
                f"http://{HOST}/simple/",
                proxy=proxy.url(kind, login),
                ca_file=str(secure.ca_file),
            )
            lab = make_lab(remotes=(remote,))
            result = lab.file(url(six), size=len(BODY))
            if "40" in login:
                good(result, lab.path())
                continue
            assert result.problem is not None
            assert result.problem.attempts == 1
            assert f"127.0.0.1:{proxy.port}" in result.problem.message
            assert "login" in result.problem.message
            assert "wr0ng" not in repr(result) + repr(lab.told)
        assert not any("proxy-authorization" in r.headers for r in simulator.requests)


def test_login_at_the_upstream_goes_through_the_tunnel_alone(
    make_lab: MakeLab, secure: Simulator, proxy: TestProxy
) -> None:
    file = secure.add_file("six", "six-1.0.tar.gz", BODY)
    remote = Remote(
        "sim",
        "https://localhost:1/simple/",
        proxy=proxy.url(),
        ca_file=str(secure.ca_file),
        authorization="Bearer hidden",
    )
    lab = make_lab(remotes=(remote,))
    good(lab.file("https://localhost:1" + file.path, size=len(BODY)), lab.path())
    assert secure.requests[0].headers["authorization"] == "Bearer hidden"
    assert "authorization" not in proxy.asked[0].headers


@pytest.mark.parametrize("kind", ["http", "socks5h", "socks5"])
def test_a_proxy_is_not_asked_for_private_hosts_that_are_not_named(
    make_lab: MakeLab, simulator: Simulator, proxy: TestProxy, kind: str
) -> None:
    lab = through(make_lab, simulator, proxy.url(kind), hosts=("*",))
    for host in ("10.0.0.1", "[fd00::a]", "localhost"):
        problem(lab.file(f"http://{host}/x"), Reason.HOST_NOT_ALLOWED)
    assert proxy.asked == []


def test_socks5_looks_names_up_here(
    make_lab: MakeLab, simulator: Simulator, six: IndexFile, proxy: TestProxy
) -> None:
    port = simulator.server.port
    remote = Remote("sim", f"http://localhost:{port}/simple/", proxy=proxy.url("socks5"))
    proxy.names["::1"] = port
    lab = make_lab(remotes=(remote,))
    good(lab.file(f"http://localhost:{port}{six.path}", size=len(BODY)), lab.path())
    assert [asked.target for asked in proxy.asked] in ([f"127.0.0.1:{port}"], [f"::1:{port}"])


def test_a_proxy_that_is_not_there_is_named(make_lab: MakeLab, simulator: Simulator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for kind in ("http", "socks5", "socks5h"):
        lab = through(make_lab, simulator, f"{kind}://me:s3cret@127.0.0.1:{port}")
        found = problem(lab.file(f"http://{HOST}/x"), Reason.CONNECTION)
        assert f"The proxy {kind}://127.0.0.1:{port} cannot be reached" in found.message
        assert "s3cret" not in repr(found)
        assert found.attempts == 2


def hang(sock: socket.socket) -> None:
    sock.recv(1)


def drip(head: bytes = b"HTTP/1.1 200 OK\r\nX: "):
    def send(sock: socket.socket) -> None:
        for byte in itertools.chain(head, itertools.repeat(0x78)):
            sock.sendall(bytes([byte]))
            if sock.recv is None:
                return

    return send


def say(*pieces: bytes):
    def send(sock: socket.socket) -> None:
        for piece in pieces:
            sock.sendall(piece)
            if piece is not pieces[-1]:
                sock.recv(1 << 16)

    return send


def flood(sock: socket.socket) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        sock.sendall(b"X: " + b"y" * 1000 + b"\r\n")


@pytest.mark.parametrize(
    ("kind", "misbehave", "reason"),
    [
        ("http", hang, Reason.TIMEOUT),
        ("http", say(b""), Reason.CONNECTION),
        ("http", say(b"SSH-2.0-x\r\n\r\n"), Reason.BAD_RESPONSE),
        ("http", flood, Reason.BAD_RESPONSE),
        ("http", drip(), Reason.BAD_RESPONSE),
        ("http", say(b"HTTP/1.1 403 No\r\n\r\n"), Reason.CONNECTION),
        ("http", say(b"HTTP/1.1 502 Bad Gateway\r\n\r\n"), Reason.CONNECTION),
        ("http", say(b"HTTP/1.1 200 OK\r\n\r\nmore"), Reason.BAD_RESPONSE),
        ("http", say(b"HTTP/1.1 103 x\r\n\r\n" * 20), Reason.BAD_RESPONSE),
        ("socks5h", hang, Reason.TIMEOUT),
        ("socks5h", say(b""), Reason.CONNECTION),
        ("socks5h", say(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Reason.CONNECTION),
        ("socks5h", say(b"\5\xff"), Reason.CONNECTION),
        ("socks5h", say(b"\5\2"), Reason.CONNECTION),
        ("socks5h", say(b"\5\0", b"\5\0"), Reason.CONNECTION),
        ("socks5h", say(b"\5\0", b"\5\0\0\7" + bytes(30)), Reason.CONNECTION),
        ("socks5h", say(b"\5\0", b"\4\0\0\1" + bytes(6)), Reason.CONNECTION),
        *(("socks5h", say(b"\5\0", bytes([5, n, 0, 1])), Reason.CONNECTION) for n in (1, 2, 9)),
        ("https", hang, Reason.TIMEOUT),
        ("https", say(b""), Reason.CONNECTION),
        ("https", say(b"garbage\r\n\r\n"), Reason.BAD_RESPONSE),
        ("https", flood, Reason.BAD_RESPONSE),
        ("https", say(b"HTTP/1.1 502 Bad Gateway\r\n\r\n"), Reason.CONNECTION),
        ("https", say(b"HTTP/1.1 200 OK\r\n\r\nmore"), Reason.BAD_RESPONSE),
    ],
)
def test_a_hostile_proxy(
    make_lab: MakeLab, secure: Simulator, kind: str, misbehave, reason: Reason
) -> None:
    """It costs what it was to bring, and is named."""
    context = secure.context if kind == "https" else None
    with TestProxy(misbehave=misbehave, context=context) as proxy:
        remote = Remote(
            "sim", "https://localhost:1/simple/", proxy=proxy.url(kind), ca_file=str(secure.ca_file)
        )
        lab = make_lab(remotes=(remote,), timeout=0.5 if misbehave is hang else 10.0)
        problem(lab.file("https://localhost:1/x"), reason)
    assert secure.requests == []


@pytest.mark.parametrize(
    "value", ["ftp://127.0.0.1:1", "http://", "127.0.0.1:99999", "socks4://me:s3cret@127.0.0.1:1"]
)
def test_a_proxy_of_the_environment_that_is_none(
    make_lab: MakeLab, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("http_proxy", value)
    lab = through(make_lab, simulator, "")
    found = problem(lab.file(f"http://{HOST}/x"), Reason.CONNECTION)
    assert "proxy" in found.message
    assert "s3cret" not in found.message


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("proxy.test", Proxy("http", "proxy.test", 80)),
        ("proxy.test:3128", Proxy("http", "proxy.test", 3128)),
        ("me:p%40:x@proxy.test:3128/", Proxy("http", "proxy.test", 3128, ("me", "p@:x"))),
        ("HTTPS://Proxy.test", Proxy("https", "proxy.test", 443)),
        ("socks5h://[::1]", Proxy("socks5h", "::1", 1080)),
    ],
)
def test_address_of_a_proxy(text: str, proxy: Proxy) -> None:
    assert parse_proxy(text) == proxy
    assert "@" not in proxy.shown
