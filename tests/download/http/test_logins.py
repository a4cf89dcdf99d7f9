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
from pypimirror.pipeline.context.remotes import remotes
from pypimirror.system.logins import Keyring
from tests import simulator as faults
from tests.download.conftest import BODY, MakeLab, good, problem
from tests.environment import isolated
from tests.keyrings import KeyringProgram
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


# A keyring


@pytest.fixture
def keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyringProgram:
    return KeyringProgram(tmp_path / "keyring", monkeypatch)


def with_keyring(simulator: Simulator, said: str = "", **more: str) -> Remote:
    return Remote(
        "sim", simulator.url, ("127.0.0.2",), keyring=Keyring(("s",), demanded_by=said), **more
    )


ME, OTHER = basic("me", "good"), basic("me", "bad")


def test_a_keyring_is_asked_once_and_only_after_a_refusal(
    make_lab: MakeLab, simulator: Simulator, six: IndexFile, keyring: KeyringProgram
) -> None:
    """By many requests at once, too."""
    lab = make_lab(remotes=(with_keyring(simulator),))
    good(lab.file(six), lab.path())
    assert keyring.asked == []
    keyring.has({"s": ("me", "good")})
    simulator.fault("*", faults.Locked(ME))
    for result in lab.together([lab.job(six, name=f"file{number}") for number in range(8)]):
        assert result.problem is None
    assert keyring.asked == ["s"]
    simulator.forget()
    good(lab.file(six, name="more"), lab.path("more"))
    assert sent(simulator) == [ME]


@pytest.mark.parametrize("first", ["given", "netrc"])
def test_a_keyring_is_asked_where_what_was_found_before_is_refused(
    make_lab: MakeLab,
    simulator: Simulator,
    six: IndexFile,
    keyring: KeyringProgram,
    tmp_path: Path,
    first: str,
) -> None:
    """As pip does, also after netrc."""
    if first == "netrc":
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password bad\n")
    given = OTHER if first == "given" else ""
    keyring.has({"s": ("me", "good")})
    simulator.fault("*", faults.Locked(ME))
    lab = make_lab(remotes=(with_keyring(simulator, authorization=given),))
    good(lab.file(six), lab.path())
    assert sent(simulator) == [OTHER, ME]


def test_the_login_of_a_keyring_goes_to_its_origin_alone(
    make_lab: MakeLab, simulator: Simulator, keyring: KeyringProgram
) -> None:
    keyring.has({"s": ("me", "good")})
    with Simulator(host="127.0.0.2") as other:
        other.fault("*", faults.Locked(ME))
        simulator.redirect("/away", other.root + "/back")
        lab = make_lab(remotes=(with_keyring(simulator),))
        problem(lab.file("/away"), Reason.HTTP_STATUS)
        assert (sent(other), keyring.asked) == ([None], [])


@pytest.mark.parametrize(
    ("script", "said", "told"),
    [
        (
            "exit 1",
            "that pip is set to ask (X)",
            "the keyring that pip is set to ask (X) gave none",
        ),
        ("exit 1", "", "has no login for s. See what 'keyring --mode=creds get s' answers"),
        ("""echo '{"username": "me", "password": "bad"}'""", "", "login that it has is refused"),
        ("echo no backend >&2; exit 1", "", "no backend"),
    ],
)
def test_why_a_keyring_did_not_help_is_told(
    make_lab: MakeLab,
    simulator: Simulator,
    six: IndexFile,
    keyring: KeyringProgram,
    script: str,
    said: str,
    told: str,
) -> None:
    keyring.does(script)
    simulator.fault("*", faults.Locked(ME))
    lab = make_lab(remotes=(with_keyring(simulator, said),))
    for _ in range(2):
        message = problem(lab.file(six), Reason.HTTP_STATUS).message
        assert told in message
        assert message.endswith("or put a login for 127.0.0.1 into ~/.netrc.")
        assert "bad" not in message and OTHER.split()[1] not in message
    assert len(keyring.asked) == 1, "not for each file"


@pytest.mark.parametrize("said", ["that pip is set to ask (X)", ""])
def test_a_program_that_is_not_there_is_missed_only_where_it_is_set_up(
    make_lab: MakeLab,
    simulator: Simulator,
    six: IndexFile,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    said: str,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    simulator.fault("*", faults.Locked(ME))
    lab = make_lab(remotes=(with_keyring(simulator, said),))
    message = problem(lab.file(six), Reason.HTTP_STATUS).message
    assert ("no program 'keyring' on the PATH" in message) is bool(said)
    assert ("`token`, of the [[upstream]]" in message) is not said


def test_a_login_that_has_ended_is_asked_for_again(
    make_lab: MakeLab,
    simulator: Simulator,
    six: IndexFile,
    keyring: KeyringProgram,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Keyrings of companies have tokens for an hour, which a long run outlives."""
    keyring.has({"s": ("me", "bad")})
    rule = simulator.fault("*", faults.Locked(OTHER))
    lab = make_lab(remotes=(with_keyring(simulator),))
    good(lab.file(six), lab.path())
    simulator.heal(rule)
    keyring.has({"s": ("me", "good")})
    simulator.fault("*", faults.Locked(ME))
    assert "is refused" in problem(lab.file(six, name="soon"), Reason.HTTP_STATUS).message
    monkeypatch.setattr("pypimirror.download.http.logins.AGAIN", 0.0)
    good(lab.file(six, name="later"), lab.path("later"))


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
    assert "s3cret" not in repr(config) + str(config.model_dump()) + str(
        config.model_dump(mode="json")
    )


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
