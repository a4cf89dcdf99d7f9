"""`pypimirror init`: which index it writes down, and how much of it."""

from __future__ import annotations

import base64
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

from pypimirror.config.sections import pypi_address
from pypimirror.config.settings import load
from tests.cli.conftest import Command
from tests.environment import NOWHERE
from tests.keyrings import KeyringProgram
from tests.mirror import offer
from tests.simulator import Locked, Simulator


def with_login(url: str, login: str = "me:s%40t") -> str:
    return url.replace("://", f"://{login}@")


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("unset")
def test_without_any_index_of_this_machine_it_is_pypi(run: Command, tmp_path: Path) -> None:
    outcome = run("init", "six")
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[0].startswith("Mirrors PyPI: ")
    assert [upstream.url for upstream in load(tmp_path / "pypimirror.toml").upstream] == [
        pypi_address()
    ]


@pytest.mark.parametrize(
    ("variable", "by"),
    [("PIP_INDEX_URL", "pip"), ("UV_DEFAULT_INDEX", "uv"), ("UV_INDEX_URL", "uv")],
)
@pytest.mark.usefixtures("unset")
def test_the_index_of_this_machine_is_mirrored_and_told_in_one_line(
    run: Command,
    tmp_path: Path,
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    by: str,
) -> None:
    offer(simulator, "six", "1.0")
    monkeypatch.setenv(variable, simulator.url.rstrip("/"))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", NOWHERE)
    outcome = run("init", "six")
    assert outcome.code == 0, outcome.err
    (line, _) = outcome.out.splitlines()
    assert f"which {by} uses on this machine ({variable})" in line
    assert "Not taken: extra-index-url." in line
    (upstream,) = load(tmp_path / "pypimirror.toml").upstream
    assert (upstream.url, upstream.hosts, upstream.login) == (simulator.url, ("*",), "")
    assert run("sync", "--inline").code == 0
    assert (tmp_path / "mirror/simple/six/index.html").exists()


@pytest.mark.usefixtures("unset")
def test_a_named_upstream_is_mirrored_whatever_pip_says(
    run: Command, tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", NOWHERE)
    monkeypatch.setenv("PIP_CERT", "/ca.pem")
    outcome = run("init", "six", "--upstream", simulator.url, "--json")
    assert outcome.json == {
        "config": str(tmp_path / "pypimirror.toml"),
        "upstream": simulator.url,
    }
    (upstream,) = load(tmp_path / "pypimirror.toml").upstream
    assert (upstream.url, upstream.ca_file, upstream.hosts) == (simulator.url, None, ())


@pytest.mark.usefixtures("unset")
def test_a_second_configuration_for_the_same_mirror_root_is_told(
    run: Command, simulator: Simulator
) -> None:
    """The next sync took away what the first configuration selects."""
    simulator.add_file("six", "six-1.0.tar.gz", b"x")
    told = "mirror has a mirror already"
    assert told not in run("init", "six", "--upstream", simulator.url).out
    run("sync", "--inline")
    other = ("init", "idna", "--upstream", simulator.url, "--config")
    assert told in run(*other, "other.toml").out
    assert told not in run(*other, "third.toml", "--directory", "third").out


@pytest.mark.parametrize("where", ["variable", "file"])
@pytest.mark.usefixtures("unset")
def test_a_login_of_pip_is_used_and_written_nowhere(
    run: Command,
    tmp_path: Path,
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    offer(simulator, "six", "1.0")
    if where == "variable":
        monkeypatch.setenv("PIP_INDEX_URL", with_login(simulator.url))
    else:
        file = tmp_path / "own.conf"
        file.write_text(f"[global]\nindex-url = {with_login(simulator.url)}\n")
        monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    outcome = run("init", "six", "--json")
    assert (outcome.code, outcome.json["upstream"]) == (0, simulator.url)
    assert run("sync", "--inline").code == 0
    said = "Basic " + base64.b64encode(b"me:s@t").decode()
    assert {request.headers.get("authorization") for request in simulator.requests} == {said}
    for path in [tmp_path / "pypimirror.toml", *(tmp_path / "mirror").rglob("*")]:
        if path.is_file():
            content = path.read_bytes()
            assert b"s%40t" not in content and b"s@t" not in content, path
            assert said.encode() not in content, path
    assert "s%40t" not in outcome.out + outcome.err


@pytest.mark.parametrize(
    ("login", "in_netrc", "sent"),
    [("token", False, "token:"), ("me", True, ""), ("me:", True, "me:")],
)
@pytest.mark.usefixtures("unset")
def test_a_name_without_a_password_is_looked_up_in_netrc_first(
    run: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    login: str,
    in_netrc: bool,
    sent: str,
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine index.test login me password secret\n" if in_netrc else "")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("PIP_INDEX_URL", with_login("https://index.test/simple", login))
    assert run("init", "six").code == 0
    (upstream,) = load(tmp_path / "pypimirror.toml").upstream
    expected = "Basic " + base64.b64encode(sent.encode()).decode() if sent else ""
    assert upstream.authorization == expected


@pytest.mark.usefixtures("unset")
def test_a_login_is_for_its_own_address_and_yields_to_any_other(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pypimirror.toml"
    monkeypatch.setenv("PIP_INDEX_URL", with_login("https://index.test/simple"))
    assert run("init", "six").code == 0
    assert load(file).upstream[0].username == "me"
    monkeypatch.setenv("PYPIMIRROR_UPSTREAM_INDEX_TEST_TOKEN", "t")
    assert load(file).upstream[0].authorization == "Bearer t"
    monkeypatch.delenv("PYPIMIRROR_UPSTREAM_INDEX_TEST_TOKEN")
    monkeypatch.setenv("PIP_INDEX_URL", with_login("https://other.test/simple"))
    assert load(file).upstream[0].authorization == ""


@pytest.mark.usefixtures("unset")
def test_the_way_of_pip_is_taken_also_to_pypi(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("PIP_PROXY", "me:secret@proxy.test:3128")
    outcome = run("init", "six")
    assert "its `cert` and `proxy`" in outcome.out.replace("its `proxy`", "`proxy`")
    text = (tmp_path / "pypimirror.toml").read_text()
    assert "secret" not in text + outcome.out
    written = tomllib.loads(text)["upstream"][0]
    assert written == {
        "name": "pypi",
        "ca_file": str(tmp_path / "ca.pem"),
        "proxy": "http://proxy.test:3128",
        "login": "pip",
    }
    (upstream,) = load(tmp_path / "pypimirror.toml").upstream
    assert upstream.proxy.get_secret_value() == "me:secret@proxy.test:3128"
    assert (upstream.url, upstream.hosts) == (pypi_address(), ("*",))


@pytest.mark.usefixtures("unset")
def test_no_proxy_of_the_environment_where_pip_has_none(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_PROXY_ENV", "1")
    outcome = run("init", "six")
    assert "its `no-proxy-env`" in outcome.out
    (upstream,) = load(tmp_path / "pypimirror.toml").upstream
    assert (upstream.proxy.get_secret_value(), upstream.login) == ("none", "")


# A keyring


@pytest.fixture
def keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyringProgram:
    monkeypatch.delenv("PIP_NO_INPUT", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return KeyringProgram(tmp_path / "keyring", monkeypatch)


@pytest.mark.parametrize(
    ("variables", "user", "login"),
    [
        ({}, "", "pip"),
        ({"PIP_KEYRING_PROVIDER": "subprocess", "PIP_NO_INPUT": "1"}, "", "pip"),
        ({"PIP_KEYRING_PROVIDER": "import"}, "me", "pip"),
        ({"PIP_KEYRING_PROVIDER": "disabled"}, "", ""),
        ({"PIP_NO_INPUT": "1"}, "", ""),
    ],
)
@pytest.mark.usefixtures("unset")
def test_a_keyring_that_pip_would_ask_is_remembered_and_not_asked(
    run: Command,
    tmp_path: Path,
    keyring: KeyringProgram,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    user: str,
    login: str,
) -> None:
    address = "https://index.test/simple"
    monkeypatch.setenv("PIP_INDEX_URL", with_login(address, user) if user else address)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    outcome = run("init", "six")
    assert (outcome.code, outcome.err) == (0, "")
    assert ("asks the keyring, as pip does" in outcome.out) is bool(login)
    assert load(tmp_path / "pypimirror.toml").upstream[0].login == login
    assert keyring.asked == []


@pytest.mark.usefixtures("unset")
def test_without_a_program_a_keyring_is_remembered_only_where_it_is_set_up(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.delenv("PIP_NO_INPUT", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.test/simple")
    assert "keyring" not in run("init", "six").out
    monkeypatch.setenv("PIP_KEYRING_PROVIDER", "import")
    assert "keyring" in run("init", "six", "--force").out


@pytest.mark.usefixtures("unset")
def test_a_sync_finds_the_login_in_the_keyring_and_keeps_it_nowhere(
    run: Command,
    tmp_path: Path,
    simulator: Simulator,
    keyring: KeyringProgram,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor does `doctor`, which says where it is from, or a run that is refused."""
    offer(simulator, "six", "1.0")
    said = "Basic " + base64.b64encode(b"me:s3cret").decode()
    rule = simulator.fault("*", Locked(said))
    keyring.has({f"{simulator.url} me": ("me", "s3cret")})
    monkeypatch.setenv("PIP_INDEX_URL", with_login(simulator.url, "me"))
    told = []
    for command in (
        ("init", "six"),
        ("sync", "--inline", "-v"),
        ("doctor", "--json"),
    ):
        outcome = run(*command)
        told.append(outcome.out + outcome.err)
        assert outcome.code == 0, told
    assert (tmp_path / "mirror/simple/six/index.html").exists()
    assert "with the login of the keyring, as pip has it" in outcome.out
    assert set(keyring.asked) == {f"{simulator.url} me"}
    simulator.heal(rule)
    simulator.fault("*", Locked("another's"))
    outcome = run("sync", "--inline", "--json")
    told.append(outcome.out + outcome.err)
    assert outcome.code == 3
    assert "the login that it has is refused" in told[-1]
    shutil.rmtree(tmp_path / "keyring")
    for secret in ("s3cret", said.split()[1]):
        assert secret not in "".join(told)
        for path in [each for each in tmp_path.rglob("*") if each.is_file()]:
            assert secret.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("index", ["ftp://127.0.0.1/", "https://[oops/", "not an index"])
@pytest.mark.usefixtures("unset")
def test_an_index_that_cannot_be_mirrored_is_no_reason_for_another(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: str
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", index)
    outcome = run("init", "six")
    assert outcome.code == 2
    assert "--upstream" in outcome.err
    assert not (tmp_path / "pypimirror.toml").exists()


def test_everything_has_to_be_asked_for(run: Command, tmp_path: Path, simulator: Simulator) -> None:
    outcome = run("init", "--upstream", simulator.url)
    assert outcome.code == 2
    told = " ".join(outcome.err.split())
    assert "--all" in told and "projects" in told and "TB" in told
    assert not (tmp_path / "pypimirror.toml").exists()
    assert run("init", "--all", "six", "--upstream", simulator.url).code == 2
    assert run("init", "--all", "--upstream", simulator.url).code == 0
    assert load(tmp_path / "pypimirror.toml").select.projects == ()


def test_a_login_in_the_named_upstream_is_written_nowhere(run: Command, tmp_path: Path) -> None:
    outcome = run("init", "six", "--upstream", "http://me:secret@my-index.test:81/simple")
    assert outcome.code == 2 and "secret" not in outcome.err + outcome.out
    assert "PYPIMIRROR_UPSTREAM_MY_INDEX_TEST_81_PASSWORD" in outcome.err
    assert "http://my-index.test:81/simple/" in outcome.err
    assert not (tmp_path / "pypimirror.toml").exists()


@pytest.mark.parametrize("address", ["foo", "ftp://me:secret@a.test/", "http://[x"])
def test_a_named_upstream_that_is_none_is_blamed_on_the_option(run: Command, address: str) -> None:
    outcome = run("init", "six", "--upstream", address)
    assert outcome.code == 2 and "--upstream" in outcome.err
    assert "secret" not in outcome.err and "upstream.0" not in outcome.err


@pytest.mark.usefixtures("unset")
def test_a_mirror_on_demand_needs_no_names(run: Command, tmp_path: Path) -> None:
    outcome = run("init", "--on-demand")
    assert outcome.code == 0, outcome.err
    config = load(tmp_path / "pypimirror.toml")
    assert config.on_demand.projects == ("*",)
    assert not config.selects_all
    assert "pypimirror serve" in outcome.out
    assert run("init", "six", "--on-demand", "--force").code == 0
    assert load(tmp_path / "pypimirror.toml").select.projects == ("six",)
    assert run("init", "--all", "--on-demand", "--force").code == 2


@pytest.mark.parametrize("more", [(), ("--force",)])
def test_a_directory_is_never_the_configuration(
    run: Command, tmp_path: Path, more: tuple[str, ...]
) -> None:
    (tmp_path / "there").mkdir()
    said = run("init", "six", "--config", "there", *more)
    assert said.code == 2
    assert "there: is a directory and no file; name the configuration itself" in said.err
