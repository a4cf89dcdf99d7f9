"""The parent's own question: it says "unchanged" where that is plain, and else "not known"."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from pypimirror.download import unchanged
from pypimirror.download.unchanged import is_unchanged
from tests import simulator as faults
from tests.simulator import IndexFile, Simulator


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "NETRC"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def validators(simulator: Simulator) -> dict[str, str]:
    """What the list is asked with once it was read."""
    with urllib.request.urlopen(urllib.request.Request(simulator.url, method="HEAD")) as answer:
        simulator.forget()
        return {"If-None-Match": answer.headers["ETag"]}


def test_not_modified(simulator: Simulator, six: IndexFile) -> None:
    assert is_unchanged(simulator.url, validators(simulator), 10)
    assert [request.method for request in simulator.requests] == ["HEAD"]


def test_what_has_changed_is_not_unchanged(simulator: Simulator, six: IndexFile) -> None:
    known = validators(simulator)
    simulator.add_file("new", "new-1.0.tar.gz", b"x")
    assert not is_unchanged(simulator.url, known, 10)


@pytest.mark.parametrize(
    "fault",
    [
        faults.Status(500),
        faults.Status(429),
        faults.Status(401),
        faults.Hangup(),
        faults.Reset(),
        faults.Raw(b"HTTP/1.1 304"),
        faults.Raw(b"HTTP/1.1 3040 No\r\n\r\n"),
        faults.Raw(b"SSH-2.0 304 \r\n\r\n"),
        faults.Raw(b"HTTP/1.1 304 Not Modified\r\n" + b"X: y\r\n" * 9000),
    ],
    ids=repr,
)
def test_any_other_answer_is_not_known(
    simulator: Simulator,
    six: IndexFile,
    fault: faults.Fault,
) -> None:
    known = validators(simulator)
    simulator.fault("/simple/", fault)
    assert not is_unchanged(simulator.url, known, 10)


def test_a_redirect_is_not_followed(simulator: Simulator, six: IndexFile) -> None:
    known = validators(simulator)
    simulator.redirect("/moved/", simulator.url)
    assert not is_unchanged(simulator.root + "/moved/", known, 10)
    assert simulator.count("/simple/") == 0


def test_an_answer_that_never_ends_is_given_up(
    simulator: Simulator,
    six: IndexFile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = validators(simulator)
    monkeypatch.setattr(unchanged, "PATIENCE", 0.2)
    simulator.hold("/simple/")
    assert not is_unchanged(simulator.url, known, 10)


@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY", "ALL_PROXY"])
def test_proxies_are_left_to_the_workers(
    simulator: Simulator,
    six: IndexFile,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    known = validators(simulator)
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert not is_unchanged(simulator.url, known, 10)
    assert not simulator.requests


@pytest.mark.parametrize("name", [".netrc", "_netrc", "other"])
def test_logins_are_left_to_the_workers(
    simulator: Simulator,
    six: IndexFile,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
) -> None:
    known = validators(simulator)
    (tmp_path / name).write_text("machine 127.0.0.1 login a password b\n")
    if name == "other":
        monkeypatch.setenv("NETRC", str(tmp_path / name))
    assert not is_unchanged(simulator.url, known, 10)
    assert not is_unchanged(simulator.url.replace("//", "//user:secret@"), known, 10)
    assert not simulator.requests


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/simple/",
        "http://user@127.0.0.1/simple/",
        "http://127.0.0.1:99999999/simple/",
        "http://127.0.0.1:0/simple/",
        "http://127.0.0.1/sim ple/",
        "http://127.0.0.1/simple/\r\nX: y",
        "http://ünïcode.test/simple/",
        "http://[::1/simple/",
    ],
)
def test_unusual_addresses_are_left_to_the_workers(url: str) -> None:
    assert not is_unchanged(url, {"If-None-Match": '"x"'}, 1)


def test_a_validator_cannot_smuggle_a_header(simulator: Simulator) -> None:
    for value in ('"x"\r\nX-Other: y', '"x"\n', '"\xe9"', ""):
        assert not is_unchanged(simulator.url, {"If-None-Match": value}, 10)
    assert not simulator.requests


def test_certificates_are_verified(
    secure: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secure.fault("/simple/", faults.Raw(b"HTTP/1.1 304 Not Modified\r\n\r\n"))
    known = {"If-None-Match": '"x"'}
    assert not is_unchanged(secure.url, known, 10)
    monkeypatch.setenv("SSL_CERT_FILE", str(secure.ca_file))
    assert is_unchanged(secure.url, known, 10)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "empty"))
    (tmp_path / "empty").write_text("")
    assert not is_unchanged(secure.url, known, 10)


def test_a_proxy_of_the_environment_does_not_count_where_none_is_wanted(
    simulator: Simulator, six: IndexFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = validators(simulator)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert not is_unchanged(simulator.url, known, 10)
    assert is_unchanged(simulator.url, known, 10, direct=True)


def test_authorities_of_the_configuration(
    secure: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secure.fault("/simple/", faults.Raw(b"HTTP/1.1 304 Not Modified\r\n\r\n"))
    monkeypatch.setenv("SSL_CERT_FILE", str(secure.ca_file))
    known = {"If-None-Match": '"x"'}
    assert not is_unchanged(secure.url, known, 10, ca_file=str(tmp_path / "absent"))
    monkeypatch.delenv("SSL_CERT_FILE")
    assert is_unchanged(secure.url, known, 10, ca_file=str(secure.ca_file))
