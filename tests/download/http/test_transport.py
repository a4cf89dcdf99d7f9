"""The transport as the engine uses it: over TLS, through a proxy, with odd bodies."""

from __future__ import annotations

import gzip
import socket
import ssl
from collections.abc import Iterator

import pytest

from pypimirror.domain.model import Reason
from pypimirror.download.failure import FetchError
from pypimirror.download.http import tls
from pypimirror.download.http.content_encoding import decoded
from pypimirror.download.protocol import Remote
from tests import simulator as faults
from tests.download.conftest import BODY, MakeLab, good, problem
from tests.simulator import IndexFile, Simulator

# TLS


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_tls(
    make_lab: MakeLab, secure: Simulator, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(secure.ca_file))
    file = secure.add_file("six", "six-1.0.tar.gz", BODY)
    lab = make_lab(simulator=secure)
    for _ in range(3):
        good(lab.file(file), lab.path())
    assert secure.connections == 1


def test_tls_that_is_not_trusted(make_lab: MakeLab, secure: Simulator) -> None:
    file = secure.add_file("six", "six-1.0.tar.gz", BODY)
    lab = make_lab(simulator=secure)
    found = problem(lab.file(file), Reason.CONNECTION)
    assert "REQUESTS_CA_BUNDLE" in found.message
    assert found.attempts == 1


def test_tls_for_another_name(
    make_lab: MakeLab, secure: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(secure.ca_file))
    monkeypatch.setattr(
        "gevent.socket.getaddrinfo", lambda *_: [(2, 1, 6, "", ("127.0.0.1", secure.server.port))]
    )
    url = f"https://other.invalid:{secure.server.port}/simple/"
    lab = make_lab(remotes=(Remote("sim", url),))
    problem(lab.file(url + "x"), Reason.CONNECTION)


def test_tls_that_is_none(make_lab: MakeLab, simulator: Simulator) -> None:
    url = simulator.url.replace("http:", "https:")
    lab = make_lab(timeout=0.3, remotes=(Remote("sim", url),))
    found = lab.file(url + "x").problem
    assert found is not None
    assert found.reason in (Reason.CONNECTION, Reason.TIMEOUT)


@pytest.mark.parametrize("ignored", [False, True])
def test_tls_cut_off_in_a_body_without_length(
    make_lab: MakeLab, secure: Simulator, monkeypatch: pytest.MonkeyPatch, ignored: bool
) -> None:
    """An end that nobody signed is not taken for the end of the file, however Python was built."""

    def built(**words):
        context = ssl_contexts(**words)
        context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF * ignored
        return context

    ssl_contexts = tls.create_default_context
    monkeypatch.setattr(tls, "create_default_context", built)

    class Cut(faults.Fault):
        def send(self, answer, exchange) -> None:
            exchange.sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(answer.body[:100]))
            socket.socket.shutdown(exchange.sock, socket.SHUT_RDWR)

    monkeypatch.setenv("SSL_CERT_FILE", str(secure.ca_file))
    file = secure.add_file("six", "six-1.0.tar.gz", BODY)
    secure.fault(file, Cut())
    lab = make_lab(simulator=secure)
    problem(lab.file(file, size=None, digests={}), Reason.TRUNCATED)


def test_https_to_http_redirect(
    make_lab: MakeLab, secure: Simulator, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(secure.ca_file))
    secure.redirect("/moved", simulator.url)
    lab = make_lab(simulator=secure, remotes=(Remote("sim", secure.url, ("127.0.0.1",)),))
    problem(lab.file("/moved"), Reason.REDIRECT)


def test_authorities_without_a_system_store(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)
    paths = ssl.get_default_verify_paths()._replace(cafile=None, capath=None)
    monkeypatch.setattr("ssl.get_default_verify_paths", lambda: paths)
    context = tls.make_tls_context()
    assert context.cert_store_stats()["x509_ca"] > 50
    assert context.check_hostname


# Proxies


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A proxy that answers for every host itself."""
    with Simulator() as running:
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.setenv("HTTP_PROXY", running.root)
        monkeypatch.setenv("http_proxy", running.root)
        yield running


def test_proxy(make_lab: MakeLab, proxy: Simulator) -> None:
    file = proxy.add_file("six", "six-1.0.tar.gz", BODY)
    lab = make_lab(remotes=(Remote("sim", "http://index.invalid/simple/"),))
    result = lab.file("http://index.invalid" + file.path, size=len(BODY))
    good(result, lab.path())
    assert proxy.requests[0].target == "http://index.invalid" + file.path
    problem(lab.file("http://other.invalid/x"), Reason.HOST_NOT_ALLOWED)


@pytest.mark.parametrize("host", ["10.0.0.1", "[fd00::a]", "localhost", "0x7f00000a"])
def test_a_proxy_is_not_asked_for_private_hosts(
    make_lab: MakeLab, proxy: Simulator, host: str
) -> None:
    lab = make_lab(remotes=(Remote("sim", "http://index.invalid/simple/", ("*",)),))
    problem(lab.file(f"http://{host}/x"), Reason.HOST_NOT_ALLOWED)
    assert proxy.requests == []


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (faults.Truncate(at=100), Reason.TRUNCATED),
        (faults.Stall(), Reason.TIMEOUT),
        (faults.Stall(after=100), Reason.TIMEOUT),
        (faults.Hangup(), Reason.CONNECTION),
        (faults.Raw(), Reason.BAD_RESPONSE),
        (faults.Status(500), Reason.HTTP_STATUS),
    ],
)
def test_faults_through_a_proxy(
    make_lab: MakeLab, proxy: Simulator, fault: faults.Fault, reason: Reason
) -> None:
    file = proxy.add_file("six", "six-1.0.tar.gz", BODY)
    proxy.fault(file, fault)
    lab = make_lab(
        timeout=0.3 if reason is Reason.TIMEOUT else 10.0,
        remotes=(Remote("sim", "http://index.invalid/simple/"),),
    )
    problem(lab.file("http://index.invalid" + file.path), reason)


def test_private_address_through_a_proxy(make_lab: MakeLab, proxy: Simulator) -> None:
    lab = make_lab(remotes=(Remote("sim", "http://index.invalid/simple/", ("*",)),))
    problem(lab.file("http://10.0.0.1/x"), Reason.HOST_NOT_ALLOWED)
    assert proxy.requests == []


def test_no_proxy(
    make_lab: MakeLab, proxy: Simulator, simulator: Simulator, six: IndexFile, monkeypatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    lab = make_lab()
    good(lab.file(six), lab.path())
    assert proxy.requests == []


# Bodies


class Pieces:
    excess = False
    delimited = True

    def __init__(self, data: bytes, size: int = 7) -> None:
        self.left = [data[start : start + size] for start in range(0, len(data), size)]
        self.closed = False

    def next_piece(self) -> bytes:
        return self.left.pop(0) if self.left else b""

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
def test_decoding_across_pieces(size: int) -> None:
    data = b"".join(number.to_bytes(4, "big") for number in range(20_000))
    packed = gzip.compress(data) + gzip.compress(b"second member")
    found = b"".join(decoded(Pieces(packed, size), "GZIP", 1 << 20))
    assert found == data + b"second member"


def test_decoding_a_bomb_stops_at_the_limit() -> None:
    pieces = Pieces(gzip.compress(bytes(50 << 20)), 1 << 16)
    size = 0
    with pytest.raises(FetchError) as caught:
        for piece in decoded(pieces, "gzip", 1000):
            size += len(piece)
    assert caught.value.reason is Reason.TOO_LARGE
    assert size <= 1000
    assert pieces.closed
