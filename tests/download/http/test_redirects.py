"""Redirects: followed a few times, to allowed places, without the login."""

from __future__ import annotations

import base64

import pytest

from pypimirror.domain.model import Reason
from pypimirror.download.failure import FetchError
from pypimirror.download.http.client import next_hop
from pypimirror.download.http.hosts import parse_url
from pypimirror.download.protocol import Remote
from tests import simulator as faults
from tests.download.conftest import Lab, MakeLab, good, problem
from tests.simulator import IndexFile, Simulator


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("absolute", [True, False])
def test_redirect(
    lab: Lab, simulator: Simulator, six: IndexFile, status: int, absolute: bool
) -> None:
    simulator.redirect("/moved", lab.url(six) if absolute else six.path, status)
    result = lab.file("/moved", size=len(six.content))
    good(result, lab.path())
    assert result.url == lab.url(six)
    assert simulator.connections == 1


def test_redirect_keeps_the_range(lab: Lab, simulator: Simulator) -> None:
    import os

    content = os.urandom(2 << 20)
    file = simulator.add_file("big", "big-1.0.tar.gz", content)
    simulator.redirect("/moved", file.path)
    simulator.fault(file, faults.Truncate(at=1 << 20), nth=1)
    result = lab.file("/moved", size=len(content))
    good(result, lab.path(), content)
    assert result.transferred == len(content)


def test_redirect_loop(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.RedirectLoop())
    assert problem(lab.file(six), Reason.REDIRECT).attempts == 1
    assert len(simulator.requests) == 1


def test_redirects_without_end(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.RedirectLoop(changing=True))
    assert problem(lab.file(six), Reason.REDIRECT).attempts == 1
    assert len(simulator.requests) == 6


@pytest.mark.parametrize(
    "to", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://", "data:,x", "http://[oops/"]
)
def test_redirect_to_another_scheme(
    lab: Lab, simulator: Simulator, six: IndexFile, to: str
) -> None:
    simulator.fault(six, faults.Redirect(to))
    problem(lab.file(six), Reason.REDIRECT)


def test_redirect_to_nowhere(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.Redirect(None))
    problem(lab.file(six), Reason.BAD_RESPONSE)


def test_redirect_to_a_host_that_is_not_named(
    lab: Lab, simulator: Simulator, six: IndexFile
) -> None:
    simulator.fault(six, faults.Redirect("http://10.0.0.1/x"))
    problem(lab.file(six), Reason.HOST_NOT_ALLOWED)


def test_redirect_to_a_private_address(
    make_lab: MakeLab, simulator: Simulator, six: IndexFile
) -> None:
    lab = make_lab(remotes=(Remote("sim", simulator.url, ("*",)),))
    for to in ("http://169.254.169.254/latest", "http://localhost:1/", "http://[::1]:1/"):
        rule = simulator.fault(six, faults.Redirect(to))
        problem(lab.file(six), Reason.HOST_NOT_ALLOWED)
        simulator.heal(rule)


def test_redirect_from_https_to_http() -> None:
    with pytest.raises(FetchError) as caught:
        next_hop(parse_url("https://a/x"), "http://a/x")
    assert caught.value.reason is Reason.REDIRECT
    assert next_hop(parse_url("http://a/x"), "https://b/y").url == "https://b/y"


def test_redirect_in_utf8() -> None:
    location = "/ü".encode().decode("latin-1")
    assert next_hop(parse_url("http://a/x"), location).target == "/%C3%BC"


def basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode()


def test_login_goes_to_its_origin_and_nowhere_else(
    make_lab: MakeLab, simulator: Simulator, six: IndexFile
) -> None:
    with Simulator() as other:
        file = other.add_file("six", "six-1.0.tar.gz", six.content)
        login = {"authorization": basic("me:secret")}
        lab = make_lab(remotes=(Remote("sim", simulator.url, ("127.0.0.1",), **login),))
        simulator.redirect("/moved", f"{other.root}{file.path}")
        result = lab.file("/moved", size=len(six.content))
        good(result, lab.path())
        assert simulator.requests[0].headers["authorization"] == basic("me:secret")
        assert "authorization" not in other.requests[0].headers
        assert "secret" not in repr(result)


def test_login_from_netrc(
    make_lab: MakeLab, six: IndexFile, tmp_path, monkeypatch, simulator
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    lab = make_lab()
    good(lab.file(six), lab.path())
    assert simulator.requests[0].headers["authorization"] == basic("me:secret")


def test_login_in_a_link_is_not_used(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    url = lab.url(six).replace("//", "//me:secret@")
    result = lab.file(url, size=len(six.content))
    good(result, lab.path())
    assert "authorization" not in simulator.requests[0].headers
    simulator.refuse()
    assert "secret" not in repr(lab.file(url))


def test_user_agent(make_lab: MakeLab, simulator: Simulator, six: IndexFile) -> None:
    lab = make_lab(user_agent="pypimirror/1 (me@example.org)")
    good(lab.file(six), lab.path())
    assert simulator.requests[0].headers["user-agent"] == "pypimirror/1 (me@example.org)"
