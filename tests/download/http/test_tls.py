"""TLS: whom an upstream must be certified by, for what, and how it is told where it is not."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypimirror.domain.model import Reason
from pypimirror.download.http.tls import make_tls_context
from pypimirror.download.protocol import Remote
from tests.download.certificates import Authority
from tests.download.conftest import BODY, MakeLab, good, problem
from tests.simulator import Simulator

HOST = "index.test"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def upstream(secure: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A simulator over TLS that any name leads to, and a file of it."""
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.setattr(
        "gevent.socket.getaddrinfo", lambda *_: [(2, 1, 6, "", ("127.0.0.1", secure.server.port))]
    )
    secure.add_file("six", "six-1.0.tar.gz", BODY)
    return secure


def fetch(make_lab: MakeLab, upstream: Simulator, host: str = HOST, ca_file: object = ""):
    root = f"https://{host}:{upstream.server.port}"
    lab = make_lab(remotes=(Remote("sim", f"{root}/simple/", ca_file=str(ca_file)),))
    path = upstream.index.projects["six"].files[0].path
    return lab, lab.file(root + path, size=len(BODY))


@pytest.mark.parametrize(
    "way", ["ca_file", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"]
)
def test_an_authority_of_ones_own(
    make_lab: MakeLab,
    upstream: Simulator,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    way: str,
) -> None:
    upstream.server.context = authority.server(HOST)
    found = problem(fetch(make_lab, upstream)[1], Reason.CONNECTION)
    assert "not trusted" in found.message and "`ca_file`" in found.message
    assert found.attempts == 1
    trust = authority.file
    if way == "SSL_CERT_DIR":
        command = ["openssl", "x509", "-noout", "-hash", "-in", str(trust)]
        name = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        (tmp_path / f"{name}.0").symlink_to(trust)
        trust = tmp_path
    if way != "ca_file":
        monkeypatch.setenv(way, str(trust))
    lab, result = fetch(make_lab, upstream, ca_file=trust if way == "ca_file" else "")
    good(result, lab.path())


def test_a_given_authority_stands_in_place_of_all_others(
    make_lab: MakeLab,
    upstream: Simulator,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    upstream.server.context = authority.server(HOST)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.file))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    other = Authority(tmp_path, "other")
    problem(fetch(make_lab, upstream, ca_file=other.file)[1], Reason.CONNECTION)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other.file))
    problem(fetch(make_lab, upstream)[1], Reason.CONNECTION)
    assert upstream.requests == []


def test_authorities_of_one_upstream_do_not_serve_another(
    make_lab: MakeLab, upstream: Simulator, authority: Authority
) -> None:
    """Also where a connection that the one may use is kept."""
    upstream.server.context = authority.server(HOST)
    url = f"https://{HOST}:{upstream.server.port}/simple/"
    remotes = (Remote("trusting", url, ca_file=str(authority.file)), Remote("sim", url))
    lab = make_lab(remotes=remotes)
    from msgspec.structs import replace

    job = lab.job(url + "six/")
    assert lab.fetcher.do(replace(job, remote="trusting")).problem is None
    problem(lab.fetcher.do(job), Reason.CONNECTION)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("names", "days", "host", "told"),
    [
        ((HOST,), -10, HOST, ("expired", "clock")),
        ((HOST,), 10, HOST, ("not yet valid", "clock")),
        (("other.test",), 0, HOST, ("other.test", "name that the certificate is for")),
        ((HOST,), 0, "127.0.0.1", ("127.0.0.1", "name that the certificate is for")),
        (("*.index.test",), 0, "a.b.index.test", ("name that the certificate is for",)),
    ],
)
def test_a_certificate_that_does_not_pass_is_told_with_the_cause_and_the_way_out(
    make_lab: MakeLab,
    upstream: Simulator,
    authority: Authority,
    names: tuple[str, ...],
    days: int,
    host: str,
    told: tuple[str, ...],
) -> None:
    upstream.server.context = authority.server(*names, days=days)
    found = problem(
        fetch(make_lab, upstream, host, authority.file)[1],
        Reason.CONNECTION,
    )
    assert host in found.message
    for words in told[-1:]:
        assert words in found.message, found.message
    assert found.attempts == 1
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("names", "host"),
    [(("127.0.0.1",), "127.0.0.1"), (("*.index.test",), "a.index.test"), ((HOST,), "INDEX.test.")],
)
def test_certificate_for_an_address_a_wildcard_and_a_name_in_full(
    make_lab: MakeLab,
    upstream: Simulator,
    authority: Authority,
    names: tuple[str, ...],
    host: str,
) -> None:
    upstream.server.context = authority.server(*names)
    lab, result = fetch(make_lab, upstream, host, authority.file)
    good(result, lab.path())


def test_server_name_indication(
    make_lab: MakeLab, upstream: Simulator, authority: Authority
) -> None:
    """A server with two certificates gives each name its own."""
    seen: list[str | None] = []
    contexts = {name: authority.server(name) for name in ("a.test", "b.test", "127.0.0.1")}

    def choose(sock: ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        seen.append(name)
        sock.context = contexts[name or "127.0.0.1"]

    upstream.server.context = authority.server("default.test")
    upstream.server.context.sni_callback = choose
    for host in ("a.test", "b.test", "127.0.0.1"):
        lab, result = fetch(make_lab, upstream, host, authority.file)
        good(result, lab.path())
    assert seen == ["a.test", "b.test", None]  # no address is a name


def test_tls_before_1_2_is_refused(
    make_lab: MakeLab, upstream: Simulator, authority: Authority
) -> None:
    context = authority.server(HOST)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    upstream.server.context = context
    found = problem(fetch(make_lab, upstream, ca_file=authority.file)[1], Reason.CONNECTION)
    assert "TLS from 1.2 on" in found.message
    assert make_tls_context().minimum_version == ssl.TLSVersion.TLSv1_2


def test_http_where_https_is_asked_for_is_said_so(make_lab: MakeLab, simulator: Simulator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        import threading

        def answer() -> None:
            sock, _ = server.accept()
            with sock:
                sock.recv(1 << 16)
                sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"https://127.0.0.1:{server.getsockname()[1]}/simple/"
        lab = make_lab(remotes=(Remote("sim", url),), tries=1)
        found = problem(lab.file(url + "x"), Reason.CONNECTION)
        thread.join()
    assert "is the address one of http?" in found.message


@pytest.mark.parametrize("content", [None, "", "no certificate"])
@pytest.mark.parametrize("way", ["ca_file", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_authorities_that_cannot_be_read_are_named(
    make_lab: MakeLab,
    upstream: Simulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str | None,
    way: str,
) -> None:
    file = tmp_path / "bundle.pem"
    if content is not None:
        file.write_text(content)
    if way != "ca_file":
        monkeypatch.setenv(way, str(file))
    result = fetch(make_lab, upstream, ca_file=file if way == "ca_file" else "")[1]
    found = problem(result, Reason.CONNECTION)
    if way != "SSL_CERT_FILE" or content is None:  # OpenSSL passes over what it finds no use for
        assert str(file) in found.message and way in found.message
    assert found.attempts == 1


# IPv6


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("tls", [False, True])
def test_upstream_at_an_ipv6_address(make_lab: MakeLab, authority: Authority, tls: bool) -> None:
    with Simulator(host="::1", tls=tls) as simulator:
        if tls:
            simulator.server.context = authority.server("::1")
        file = simulator.add_file("six", "six-1.0.tar.gz", BODY)
        assert simulator.root.startswith(("http://[::1]:", "https://[::1]:"))
        remote = Remote("sim", simulator.url, ca_file=str(authority.file) if tls else "")
        lab = make_lab(simulator=simulator, remotes=(remote,))
        page = lab.page().page
        assert page is not None
        assert [each.url for each in page.files] == [simulator.root + file.path]
        good(lab.file(page.files[0].url, size=len(BODY)), lab.path())
        simulator.redirect("/moved", simulator.root + file.path)
        good(lab.file("/moved", size=len(BODY)), lab.path())
        assert simulator.requests[0].headers["host"] == f"[::1]:{simulator.server.port}"


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_a_name_whose_first_address_does_not_answer_is_asked_at_the_next(
    make_lab: MakeLab, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = simulator.add_file("six", "six-1.0.tar.gz", BODY)
    port = simulator.server.port
    found = [(10, 1, 6, "", ("::1", port, 0, 0)), (2, 1, 6, "", ("127.0.0.1", port))]
    monkeypatch.setattr("gevent.socket.getaddrinfo", lambda *_: found)
    root = f"http://{HOST}:{port}"
    lab = make_lab(remotes=(Remote("sim", f"{root}/simple/"),), tries=1)
    good(lab.file(root + file.path, size=len(BODY)), lab.path())
