"""Which hosts may be asked: the table of rules, and that the address is checked when connecting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypimirror.domain.model import Reason
from pypimirror.download.failure import FetchError
from pypimirror.download.http.hosts import (
    Address,
    HostPolicy,
    Origin,
    is_public,
    is_spelled_private,
    parse_url,
)
from pypimirror.download.protocol import Remote
from tests.download.conftest import MakeLab, good, problem
from tests.simulator import IndexFile, Simulator


def origin(url: str) -> Origin:
    return parse_url(url).origin


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a", Address(Origin("http", "a", 80), "/")),
        ("HTTPS://A.B/c?d#e", Address(Origin("https", "a.b", 443), "/c?d")),
        ("http://a:8080?x", Address(Origin("http", "a", 8080), "/?x")),
        ("http://[::1]:80/", Address(Origin("http", "::1", 80), "/")),
        ("http://u:p%40@a/", Address(Origin("http", "a", 80), "/")),
        ("http://a./", Address(Origin("http", "a", 80), "/")),
        ("http://a/ä b", Address(Origin("http", "a", 80), "/%C3%A4%20b")),
        ("http://bücher.example/", Address(Origin("http", "xn--bcher-kva.example", 80), "/")),
        ("http://a/%2e%2e/x+y%2By", Address(Origin("http", "a", 80), "/%2e%2e/x+y%2By")),
    ],
)
def test_url(url: str, expected: Address) -> None:
    assert parse_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "six.whl",
        "ftp://a/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://",
        "http:///x",
        "http://a:0/",
        "http://a:65536/",
        "http://a:b/",
        "http://a b/",
        "http://a/\r\nHost: b",
        "http://a\n/",
        "http://a\\@b/",
        "http://a/" + "x" * 9000,
        "http://a@b@c/",
        "http://\x00/",
        "http://[fe80::1%25eth0]/",
    ],
)
def test_unsafe_url(url: str) -> None:
    with pytest.raises(FetchError) as caught:
        parse_url(url)
    assert caught.value.reason is Reason.UNSAFE_URL


@given(st.text(max_size=60))
def test_no_url_breaks_out_of_its_request_line(text: str) -> None:
    try:
        address = parse_url("http://a/" + text)
    except FetchError:
        return
    assert address.origin == Origin("http", "a", 80)
    assert all("!" <= character <= "~" for character in address.target)
    assert parse_url(address.url) == address


@given(st.text(max_size=60))
def test_every_text_is_a_url_or_a_failure(text: str) -> None:
    for url in (text, "http://" + text):
        try:
            address = parse_url(url)
        except FetchError:
            continue
        assert address.origin.host.isascii()
        assert not set(address.origin.host) & set("/@?# \r\n")


def policy(url: str, *hosts: str) -> HostPolicy:
    return HostPolicy(Remote("sim", url, hosts))


@pytest.mark.parametrize(
    ("own", "hosts", "asked", "named"),
    [
        ("http://a:1/simple/", (), "http://a:1/x", True),
        ("http://a:1/simple/", (), "http://a:2/x", None),
        ("http://a:1/simple/", (), "https://a:1/x", None),
        ("http://a:1/simple/", (), "http://b:1/x", None),
        ("http://a/simple/", (), "https://a/x", True),
        ("https://a/simple/", (), "http://a/x", None),
        ("http://a:1/", ("b",), "http://b:77/x", True),
        ("http://a:1/", ("B.",), "https://b/x", True),
        ("http://a:1/", ("b:77",), "http://b:77/x", True),
        ("http://a:1/", ("b:77",), "http://b:78/x", None),
        ("http://a:1/", ("b",), "http://c.b/x", None),
        ("http://a:1/", ("*",), "http://a:1/x", True),
        ("http://a:1/", ("*",), "http://anything/x", False),
        ("http://a:1/", ("*", "b"), "http://b/x", True),
        ("http://a:1/", ("[::1]:80",), "http://[::1]/x", True),
        ("http://a:1/", ("::1",), "http://[::1]:5/x", True),
    ],
)
def test_policy(own: str, hosts: tuple[str, ...], asked: str, named: bool | None) -> None:
    rules = policy(own, *hosts)
    if named is None:
        with pytest.raises(FetchError) as caught:
            rules.public_only(origin(asked))
        assert caught.value.reason is Reason.HOST_NOT_ALLOWED
        assert "`hosts`" in caught.value.message
        assert origin(asked).host in caught.value.message
    else:
        assert rules.public_only(origin(asked)) is not named


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_address(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "240.0.0.1",
        "192.0.2.1",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "fec0::1",
        "3fff::1",
        "192.0.0.8",
        "192.88.99.1",
        "64:ff9b:1::a00:1",
        "not an address",
    ],
)
def test_private_address(address: str) -> None:
    assert not is_public(address)
    assert is_spelled_private(address) or address == "not an address"


@pytest.mark.parametrize(
    "host", ["localhost", "x.localhost", "fd00::a", "127.1", "2130706433", "0x7f000001", "1.2.0xa"]
)
def test_names_that_a_proxy_must_not_even_be_asked_for(host: str) -> None:
    assert is_spelled_private(host)


@pytest.mark.parametrize("host", ["pypi.example.org", "8.8.8.8", "2606:4700::a", "a1.example.org"])
def test_names_that_a_proxy_may_look_up(host: str) -> None:
    assert not is_spelled_private(host)


@pytest.mark.parametrize("order", [1, -1])
def test_a_name_with_one_private_address_among_public_ones_is_not_asked(
    make_lab: MakeLab, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, order: int
) -> None:
    found = [(2, 1, 6, "", (address, 80)) for address in ("8.8.8.8", "127.0.0.1")]
    monkeypatch.setattr("gevent.socket.getaddrinfo", lambda *_: found[::order])
    lab = make_lab(remotes=(Remote("sim", simulator.url, ("*",)),))
    with Simulator() as other:
        url = f"http://rebound.invalid:{other.server.port}/packages/x"
        assert "127.0.0.1" in problem(lab.file(url), Reason.HOST_NOT_ALLOWED).message
        assert other.connections == 0


def test_host_that_is_not_named(lab, simulator: Simulator, six: IndexFile) -> None:
    with Simulator() as other:
        file = other.add_file("six", "six-1.0.tar.gz", b"x")
        found = problem(lab.file(f"{other.root}{file.path}"), Reason.HOST_NOT_ALLOWED)
        assert "hosts = [" in found.message
        assert found.attempts == 1
        assert other.requests == []


@pytest.mark.parametrize("entry", ["127.0.0.1", "127.0.0.1:{port}"])
def test_host_that_is_named(make_lab: MakeLab, simulator: Simulator, entry: str) -> None:
    with Simulator() as other:
        file = other.add_file("six", "six-1.0.tar.gz", b"x")
        named = entry.format(port=other.server.port)
        lab = make_lab(remotes=(Remote("sim", simulator.url, (named,)),))
        good(lab.file(f"{other.root}{file.path}", size=1), lab.path(), b"x")


def test_any_public_host_is_not_loopback(make_lab: MakeLab, simulator: Simulator) -> None:
    """Whatever the name is: it resolves to an address that is not public."""
    lab = make_lab(remotes=(Remote("sim", simulator.url, ("*",)),))
    with Simulator() as other:
        for host in ("127.0.0.1", "localhost"):
            url = f"http://{host}:{other.server.port}/packages/x"
            found = problem(lab.file(url), Reason.HOST_NOT_ALLOWED)
            assert host in found.message
            assert found.attempts == 1
        assert other.connections == 0


def test_connection_to_a_named_host_does_not_serve_others(
    make_lab: MakeLab, simulator: Simulator, six: IndexFile
) -> None:
    """The connection that one upstream may use is not there for another that may not."""
    with Simulator() as other:
        lab = make_lab(remotes=(Remote("sim", other.url, ("*",)), Remote("named", simulator.url)))
        from msgspec.structs import replace

        job = lab.job(six)
        good(lab.fetcher.do(replace(job, remote="named")), lab.path())
        problem(lab.fetcher.do(job), Reason.HOST_NOT_ALLOWED)


def test_upstream_that_is_not_http(make_lab: MakeLab, six: IndexFile) -> None:
    lab = make_lab(remotes=(Remote("sim", "ftp://127.0.0.1/index/"),))
    problem(lab.file(six), Reason.UNSAFE_URL)


def test_upstream_that_is_a_directory_names_no_host(make_lab: MakeLab, six: IndexFile) -> None:
    lab = make_lab(remotes=(Remote("sim", "file:///srv/index/"),))
    problem(lab.file(six), Reason.HOST_NOT_ALLOWED)


def test_unknown_upstream(make_lab: MakeLab, six: IndexFile) -> None:
    lab = make_lab(remotes=())
    problem(lab.file(six), Reason.INTERNAL)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "file:///etc/passwd", "six.whl"])
def test_url_of_another_kind(lab, url: str) -> None:
    from msgspec.structs import replace

    job = replace(lab.job("/x"), urls=(url,))
    problem(lab.fetcher.do(job), Reason.UNSAFE_URL)
