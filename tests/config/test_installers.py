"""The index that this machine installs from: what pip says, held against pip itself."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pypimirror.config.installers import InstallerError, machine_index, pip_index, uv_index
from tests.sampling import sample

PYTHON = sys.executable
ASK = """
import json, os, sys
from pip._internal.commands import create_command
answers = []
for case in json.load(sys.stdin):
    os.environ.clear()
    os.environ.update(case)
    sys.prefix = case["OWN_PREFIX"]
    found = create_command("install").parser.get_default_values()
    way = [found.index_url, found.cert or "", found.proxy or ""]
    asked = found.keyring_provider
    if asked == "auto" and found.no_input:  # as pip's `use_keyring` has it
        asked = "disabled"
    left = [found.client_cert, found.extra_index_urls, found.find_links, found.no_index]
    way += [getattr(found, "no_proxy_env", None), asked, *map(bool, left)]
    answers.append(way)
print(json.dumps(answers))
"""


def conf(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A user of the machine, who has nothing yet."""
    return {
        "HOME": str(tmp_path / "home"),
        "XDG_CONFIG_DIRS": str(tmp_path / "xdg"),
        "OWN_PREFIX": str(tmp_path / "venv"),
        "PATH": os.environ["PATH"],
    }


def of_pip(wheel: Path, environments: list[dict[str, str]]) -> list[list[Any]]:
    """What pip itself makes of its configuration, for each of these users."""
    told = subprocess.run(
        [PYTHON, "-c", ASK],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(wheel)},
        input=json.dumps(environments),
        check=True,
        capture_output=True,
        text=True,
    )
    found: list[list[Any]] = json.loads(told.stdout)
    return found


PLACES = (
    "xdg/pip/pip.conf",
    "home/.pip/pip.conf",
    "home/.config/pip/pip.conf",
    "venv/pip.conf",
    "own.conf",
)
KEYS = ("index-url", "index_url", "pypi-url", "proxy", "cert", "client-cert", "extra-index-url")
VALUES = ("", *(f"http://127.0.0.1:9/{n}/" for n in range(4)))
SWITCHES = {
    "keyring-provider": ("", "auto", "import", "subprocess", "disabled"),
    "no-input": ("", "1", "No", "true"),
    "no-index": ("", "0", "yes"),
    "no-proxy-env": ("", "off", "On"),
}
VARIABLES = ("PIP_INDEX_URL", "PIP_PYPI_URL", "PIP_PROXY", "PIP_CERT", "PIP_FIND_LINKS")
SECTIONS = ("global", "install", "download")


def some_user(base: Path, chance: random.Random) -> dict[str, str]:
    """A user with files and variables such as nobody has, most of them contradicting."""
    for place in chance.sample(PLACES, chance.randint(0, 4)):
        lines = []
        for section in chance.sample(SECTIONS, chance.randint(1, 3)):
            lines.append(f"[{section}]")
            keys = chance.sample(KEYS, chance.randint(1, 3))
            if {"index-url", "index_url"} <= set(keys):
                keys.remove("index_url")  # newer versions refuse the same key twice
            lines += [f"{key} = {chance.choice(VALUES)}" for key in keys]
            switches = chance.sample(sorted(SWITCHES), chance.randint(0, 2))
            lines += [f"{key} = {chance.choice(SWITCHES[key])}" for key in switches]
        conf(base / place, "\n".join(lines) + "\n")
    environment = {
        "HOME": str(base / "home"),
        "XDG_CONFIG_DIRS": str(base / "xdg"),
        "OWN_PREFIX": str(base / "venv"),
        "PATH": os.environ["PATH"],
        **{name: chance.choice(VALUES) for name in chance.sample(VARIABLES, chance.randint(0, 2))},
    }
    if chance.random() < 0.3:
        key = chance.choice(sorted(SWITCHES))
        environment[f"PIP_{key.upper().replace('-', '_')}"] = chance.choice(SWITCHES[key])
    own = chance.choice([None, None, str(base / "own.conf"), str(base / "absent.conf"), os.devnull])
    return environment | ({"PIP_CONFIG_FILE": own} if own else {})


@pytest.mark.parametrize("version", sample(["24.3.1", "26.3"], "26.3"))
def test_what_pip_would_use_is_what_is_found(
    tmp_path: Path, pip_wheels: dict[str, Path], version: str
) -> None:
    chance = random.Random(5)
    users = [some_user(tmp_path / str(number), chance) for number in range(150)]
    answers = of_pip(pip_wheels[version], users)
    for user, (url, cert, proxy, direct, asked, *left) in zip(users, answers, strict=True):
        found = pip_index(user, user["OWN_PREFIX"])
        assert found.url == (url if "127.0.0.1" in url else ""), user
        if direct is not None:  # pip has it since 26.3
            assert found.proxy == (proxy or ("none" if direct else "")), user
        assert found.ca_file == cert, user
        assert found.provider == asked, user
        keys = ("client-cert", "extra-index-url", "find-links", "no-index")
        assert [key in found.left for key in keys] == left, user


def test_a_provider_that_pip_does_not_know_is_told(
    environment: dict[str, str], tmp_path: Path
) -> None:
    environment["PIP_KEYRING_PROVIDER"] = "Auto"
    with pytest.raises(InstallerError, match=r"PIP_KEYRING_PROVIDER: .*'Auto'; it has auto"):
        pip_index(environment, str(tmp_path))


def test_nothing_is_configured(environment: dict[str, str], tmp_path: Path) -> None:
    found = machine_index(environment, str(tmp_path / "venv"))
    assert (found.url, found.source, found.left, found.login) == ("", "", (), None)


def test_only_the_index_counts_and_the_rest_is_told(
    environment: dict[str, str], tmp_path: Path
) -> None:
    conf(
        tmp_path / "venv/pip.conf",
        "[global]\nextra-index-url = http://127.0.0.1:9/a\n  http://127.0.0.1:9/b\n"
        "find-links = /wheels\nno-index = false\ntrusted-host = a\n",
    )
    found = machine_index(environment, str(tmp_path / "venv"))
    assert found.url == ""
    assert found.left == ("extra-index-url", "find-links")
    environment["PIP_INDEX_URL"] = "https://me:s%40t@index.test/simple"
    found = machine_index(environment, str(tmp_path / "venv"))
    assert found.left == ("extra-index-url", "find-links", "trusted-host")
    assert (found.url, found.login) == ("https://index.test/simple", ("me", "s@t"))
    assert "s@t" not in repr(found) and "s%40t" not in repr(found)


@pytest.mark.parametrize("text", ["no section = 1\n", "[global]\na = 1\na = 2\n", "[global]\n\xff"])
def test_a_file_that_pip_cannot_read_is_told(
    environment: dict[str, str], tmp_path: Path, text: str
) -> None:
    file = tmp_path / "home/.config/pip/pip.conf"
    conf(file, "")
    file.write_bytes(text.encode("latin-1"))
    if "\xff" in text and "utf" not in os.environ.get("LC_ALL", "utf").lower():
        pytest.skip("another locale reads it")
    with pytest.raises(InstallerError, match=r"pip\.conf"):
        machine_index(environment, str(tmp_path / "venv"))


@pytest.mark.parametrize(
    ("variables", "url", "said", "login"),
    [
        ({"UV_DEFAULT_INDEX": "http://a/s/"}, "http://a/s/", "UV_DEFAULT_INDEX", None),
        ({"UV_INDEX_URL": "http://u:p@a/s/"}, "http://a/s/", "UV_INDEX_URL", ("u", "p")),
        (
            {"UV_INDEX_URL": "http://a/1/", "UV_DEFAULT_INDEX": "http://a/2/"},
            "http://a/2/",
            "UV_DEFAULT_INDEX",
            None,
        ),
        (
            {
                "UV_DEFAULT_INDEX": "my-own=http://a/s/",
                "UV_INDEX_MY_OWN_USERNAME": "u",
                "UV_INDEX_MY_OWN_PASSWORD": "p",
            },
            "http://a/s/",
            "UV_DEFAULT_INDEX",
            ("u", "p"),
        ),
        ({"UV_DEFAULT_INDEX": "http://a/s/?x=http://b"}, "http://a/s/?x=http://b", None, None),
        ({"UV_DEFAULT_INDEX": "  "}, "", "", None),
    ],
)
def test_the_index_of_uv(variables, url, said, login) -> None:
    found = uv_index(variables)
    assert (found.url, found.login) == (url, login)
    assert said is None or found.source == said


def test_pip_goes_before_uv_and_the_way_of_pip_holds_for_both(
    environment: dict[str, str], tmp_path: Path
) -> None:
    environment |= {
        "UV_DEFAULT_INDEX": "http://uv.test/",
        "PIP_CERT": "/ca.pem",
        "PIP_PROXY": "p:1",
    }
    found = machine_index(environment, str(tmp_path / "venv"))
    assert (found.by, found.url, found.ca_file, found.proxy) == (
        "uv",
        "http://uv.test/",
        "/ca.pem",
        "p:1",
    )
    environment["PIP_INDEX_URL"] = "http://pip.test/"
    assert machine_index(environment, str(tmp_path / "venv")).url == "http://pip.test/"


def test_the_login_of_uvs_index_goes_with_it(tmp_path: Path) -> None:
    """Whichever way it is given: without it, each run would be refused."""
    environment = {
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": os.devnull,
        "UV_DEFAULT_INDEX": "corp=https://index.test/simple",
        "UV_INDEX_CORP_USERNAME": "me",
        "UV_INDEX_CORP_PASSWORD": "secret",
    }
    found = machine_index(environment, str(tmp_path))
    assert (found.by, found.url) == ("uv", "https://index.test/simple")
    assert found.login == ("me", "secret")
