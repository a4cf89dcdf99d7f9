"""A login goes to the origin that it was given for, and is told nobody else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pypimirror.config.settings import Config, ConfigError, parse
from pypimirror.domain.addresses import basic, redacted
from pypimirror.domain.model import Reason
from pypimirror.download.protocol import Remote
from pypimirror.pipeline.run import remotes
from tests import simulator as faults
from tests.download.conftest import BODY, MakeLab, good, problem
from tests.environment import isolated
from tests.mirror import Mirror, offer
from tests.sampling import sample
from tests.simulator import IndexFile, Simulator

TOKEN = "Bearer t0ken"


@pytest.fixture(autouse=True)
def _no_netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def sent(simulator: Simulator) -> list[str | None]:
    return [request.headers.get("authorization") for request in simulator.requests]


def test_a_login_does_not_follow_a_redirect_and_is_there_where_the_chain_comes_back(
    make_lab: MakeLab, simulator: Simulator, six: IndexFile
) -> None:
    with Simulator(host="127.0.0.2") as other:
        simulator.redirect("/away", other.root + "/back")
        other.redirect("/back", simulator.root + six.path)
        remote = Remote("sim", simulator.url, ("127.0.0.2",), authorization=TOKEN)
        lab = make_lab(remotes=(remote,))
        good(lab.file("/away", size=len(BODY)), lab.path())
        assert sent(other) == [None]
        assert sent(simulator) == [TOKEN, TOKEN]


def test_a_login_is_not_sent_to_another_port_of_its_host(
    make_lab: MakeLab, simulator: Simulator, six: IndexFile
) -> None:
    with Simulator() as other:
        file = other.add_file("six", "six-1.0.tar.gz", BODY)
        remote = Remote("sim", simulator.url, ("127.0.0.1",), authorization=TOKEN)
        lab = make_lab(remotes=(remote,))
        good(lab.file(other.root + file.path, size=len(BODY)), lab.path())
        assert sent(other) == [None]


def test_a_login_is_not_sent_in_the_clear_to_the_host_that_it_is_for(
    make_lab: MakeLab, secure: Simulator, simulator: Simulator, six: IndexFile, tmp_path: Path
) -> None:
    """Neither on a link nor on a redirect, which is refused."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    settings = {"hosts": ("127.0.0.1",), "ca_file": str(secure.ca_file)}
    for authorization in (TOKEN, ""):
        remote = Remote("sim", secure.url, authorization=authorization, **settings)
        lab = make_lab(remotes=(remote,))
        good(lab.file(six), lab.path())
        rule = secure.fault("/away", faults.Redirect(simulator.root + six.path))
        problem(lab.file(secure.root + "/away"), Reason.REDIRECT)
        secure.heal(rule)
    assert sent(secure) == [TOKEN, basic("me", "secret")]
    assert sent(simulator) == [None, None]


@pytest.mark.parametrize(
    ("netrc", "hosts", "own", "others"),
    [
        ("machine 127.0.0.1 login a password b", ("127.0.0.2",), True, False),
        ("machine 127.0.0.2 login a password b", ("127.0.0.2",), False, True),
        ("default login a password b", ("127.0.0.2",), True, False),
        ("machine 127.0.0.1 login a", ("127.0.0.2",), True, False),
        ("machine 127.0.0.1 password", ("127.0.0.2",), False, False),
    ],
)
@pytest.mark.parametrize("place", ["NETRC", ".netrc", "_netrc"])
def test_netrc(
    make_lab: MakeLab,
    simulator: Simulator,
    six: IndexFile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    netrc: str,
    hosts: tuple[str, ...],
    own: bool,
    others: bool,
) -> None:
    file = tmp_path / place
    file.write_text(netrc + "\n")
    file.chmod(0o600)
    if place == "NETRC":
        monkeypatch.setenv("NETRC", str(file))
    with Simulator(host="127.0.0.2") as other:
        elsewhere = other.add_file("six", "six-1.0.tar.gz", BODY)
        lab = make_lab(remotes=(Remote("sim", simulator.url, hosts),))
        simulator.redirect("/moved", other.root + elsewhere.path)
        good(lab.file("/moved", size=len(BODY)), lab.path())
        assert [value is not None for value in sent(simulator)] == [own]
        assert [value is not None for value in sent(other)] == [others]


def test_a_login_of_the_configuration_wins_over_netrc(
    make_lab: MakeLab, simulator: Simulator, six: IndexFile, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    lab = make_lab(remotes=(Remote("sim", simulator.url, authorization=TOKEN),))
    good(lab.file(six), lab.path())
    assert sent(simulator) == [TOKEN]


def test_a_refusal_says_where_a_login_belongs(lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.Status(401))
    assert "`token`, of the [[upstream]]" in problem(lab.file(six), Reason.HTTP_STATUS).message


# Configuration


def read(*upstreams: dict[str, object]) -> Config:
    return parse({"upstream": list(upstreams)}, Path("/etc/pypimirror.toml"))


def logins(config: Config) -> dict[str, str]:
    return {remote.name: remote.authorization for remote in remotes(config)}


BASE = {"name": "a-b.c", "url": "http://a.test/simple/"}


@pytest.mark.parametrize(
    ("keys", "environment", "expected"),
    [
        ({}, {}, ""),
        ({"username": "me", "password": "s:ü"}, {}, basic("me", "s:ü")),
        ({"token": "t"}, {}, "Bearer t"),
        ({"url": "http://me:p%40@a.test/simple/"}, {}, basic("me", "p@")),
        ({"username": "me"}, {"PASSWORD": "p"}, basic("me", "p")),
        ({}, {"USERNAME": "me", "PASSWORD": "p"}, basic("me", "p")),
        ({}, {"TOKEN": "t"}, "Bearer t"),
        ({"token": "old"}, {"TOKEN": "new"}, "Bearer new"),
        ({"username": "me", "password": "p"}, {"TOKEN": "t"}, "Bearer t"),
        ({"url": "http://me:p@a.test/simple/"}, {"PASSWORD": "q"}, basic("me", "q")),
    ],
)
def test_login_of_an_upstream(
    monkeypatch: pytest.MonkeyPatch,
    keys: dict[str, str],
    environment: dict[str, str],
    expected: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(f"PYPIMIRROR_UPSTREAM_A_B_C_{name}", value)
    config = read(BASE | keys, {"name": "other", "url": "http://b.test/"})
    assert logins(config) == {"a-b.c": expected, "other": ""}
    assert config.upstream[0].url == "http://a.test/simple/"


def test_alternates_have_logins_of_their_own() -> None:
    config = read(
        BASE | {"token": "t", "alternates": ["http://me:p@c.test/simple/", "http://d.test/simple/"]}
    )
    assert logins(config) == {
        "a-b.c": "Bearer t",
        "http://c.test/simple/": basic("me", "p"),
        "http://d.test/simple/": "",
    }


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"token": "s3cret", "username": "me"}, "token"),
        ({"url": "http://me:s3cret@a.test/simple/", "token": "s3cret"}, "url"),
        ({"token": "s3cret\nX: y"}, "token"),
        ({"username": "a:b"}, "username"),
        ({"proxy": "gopher://me:s3cret@a.test"}, "proxy"),
        ({"proxy": "http://me:s3cret@a b"}, "proxy"),
        ({"url": "ftp://me:s3cret@a.test/"}, "url"),
        ({"url": "http://me:s3cret@a.test:x/"}, "url"),
    ],
)
def test_mistakes_are_told_without_the_secret(keys: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(BASE | keys)
    assert told in str(caught.value)
    assert "s3cret" not in str(caught.value) + repr(caught.value.__cause__)


@pytest.mark.parametrize(
    ("names", "of"), [(("a-b", "a.b"), "a-b and a.b"), (("x",), "no upstream")]
)
def test_a_login_in_the_environment_is_for_one_upstream(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], of: str
) -> None:
    monkeypatch.setenv("PYPIMIRROR_UPSTREAM_A_B_TOKEN", "s3cret")
    with pytest.raises(ConfigError) as caught:
        read(*({"name": name, "url": f"http://{n}.test/"} for n, name in enumerate(names)))
    assert of in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_configuration_shows_no_secret() -> None:
    config = read(BASE | {"password": "s3cret", "proxy": "http://me:s3cret@p.test"})
    assert "s3cret" not in repr(config) + str(config.model_dump()) + config.model_dump_json()


def test_an_address_in_a_message() -> None:
    text = "Client error for url 'https://me:s3@cret@a.test/api' (x@y)"
    assert redacted(text) == "Client error for url 'https://a.test/api' (x@y)"


# The whole program


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("works", sample([True, False], False))
def test_no_login_is_told_or_kept_anywhere(
    tmp_path: Path, simulator: Simulator, works: bool
) -> None:
    """Whatever is said, written and kept, while all goes well and while all goes wrong."""
    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror = Mirror(tmp_path / "m", simulator, download={"tries": 1})
    login = simulator.url.replace("//", "//me:s3cret@")
    links = {"name": "links", "kind": "links", "url": f"{login}links/", "username": "x"}
    del links["username"]
    away = f"{login}six/".replace(str(simulator.server.port), "1")
    mirror.upstreams[0] |= {"url": login, "alternates": [away]}
    mirror.upstreams.append(links)
    if not works:
        simulator.fault("/simple/six/", faults.RedirectLoop())
        simulator.fault("/simple/idna/", faults.Status(500))
        simulator.fault("/simple/links/", faults.HtmlError())
    mirror.select("six", "idna", "absent")
    mirror.configure()
    said = ""
    file = str(mirror.file)
    for command in (
        ("sync", "--dry-run", "--json", "-v"),
        ("sync", "-v"),
        ("sync", "--json"),
        ("status", "--json"),
        ("runs", "--json"),
        ("explain", "six", "--json"),
        ("doctor", "--json"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "pypimirror", *command, "--config", file],
            env=isolated(HOME=str(tmp_path)),
            capture_output=True,
            text=True,
        )
        said += done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
    assert any(value == basic("me", "s3cret") for value in sent(simulator))
    hidden = ("s3cret", basic("me", "s3cret").partition(" ")[2])
    for secret in hidden:
        assert secret not in said
        for directory, _, names in os.walk(mirror.root):
            for name in names:
                assert secret.encode() not in Path(directory, name).read_bytes(), name
    assert json.loads(done.stdout)
