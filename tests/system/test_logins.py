"""Logins that this machine keeps: what the program `keyring` is asked, and when it is given up."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from pypimirror.system import logins
from pypimirror.system.logins import Keyring, KeyringError, keyring_login
from tests.keyrings import KeyringProgram

INDEX = "http://index.test/simple/"
SERVICES = (INDEX, "index.test")
BOTH = Keyring(SERVICES)
OF_ME = Keyring(SERVICES, "t0ken")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyringProgram:
    return KeyringProgram(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("keyring", "has", "asked"),
    [
        (BOTH, {INDEX: ("me", "p")}, [INDEX]),
        (BOTH, {"index.test": ("me", "p")}, [INDEX, "index.test"]),
        (OF_ME, {f"{INDEX} t0ken": ("t0ken", "p")}, [f"{INDEX} t0ken"]),
        (OF_ME, {"index.test t0ken": ("t0ken", "ü ' \"")}, None),
    ],
)
def test_the_index_is_asked_for_before_its_host(
    program: KeyringProgram,
    keyring: Keyring,
    has: dict[str, tuple[str, str]],
    asked: list[str] | None,
) -> None:
    program.has(has)
    assert keyring_login(keyring) == next(iter(has.values()))
    assert asked is None or program.asked == asked


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exit 1", "no login for http://index.test/simple/ or index.test"),
        ("echo s3cret", "cannot be read"),
        ("""echo '{"username": null, "password": "s3cret"}'""", "cannot be read"),
        ("echo '[]'", "cannot be read"),
        ("echo 'Traceback\nNoKeyringError: none, t0ken.' >&2; exit 1", "1: NoKeyringError: none,"),
        ("echo 'at https://a:s3cret@x/' >&2; exit 1", "ended with 1: at https://x/"),
        ("echo 'unrecognized arguments: --mode=creds' >&2; exit 2", "older than 25.2.1"),
        ("if read x </dev/tty; then exit 0; fi; echo 'no terminal' >&2; exit 1", "no terminal"),
    ],
)
def test_a_program_that_gives_none_is_told_without_any_secret(
    program: KeyringProgram, script: str, told: str
) -> None:
    program.does(script)
    with pytest.raises(KeyringError) as caught:
        keyring_login(OF_ME)
    said = f"{caught.value} {caught.value.step} {OF_ME}"
    assert told in said
    assert "s3cret" not in said and "t0ken" not in said


ASK = """
from pypimirror.system import logins
logins.PATIENCE = 0.3
try:
    print(logins.keyring_login(logins.Keyring(("a", "b"))))
except logins.KeyringError as error:
    print(error)
"""


@pytest.mark.parametrize("patched", ["", "from gevent import monkey; monkey.patch_all()"])
def test_a_program_that_waits_is_ended_with_all_that_it_started(
    program: KeyringProgram, tmp_path: Path, patched: str
) -> None:
    """The child holds the pipes open, and would for an hour: whoever waits for their end hangs.

    Download workers have gevent's own way to start and end programs.
    """
    os.mkfifo(tmp_path / "alive")
    alive = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    program.does(f"sleep 3600 9> {tmp_path}/alive & wait")
    told = subprocess.run(
        [sys.executable, "-c", patched + ASK], capture_output=True, text=True, check=True
    )
    assert "has not answered within" in told.stdout
    assert (told.stderr, program.asked) == ("", ["a"]), "the time is for all questions together"
    assert select.select([alive], [], [], 10.0)[0], "what it started is still there"
    assert os.read(alive, 1) == b""
    os.close(alive)


def test_without_a_program_it_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(KeyringError, match="no program 'keyring' on the PATH") as caught:
        keyring_login(BOTH)
    assert "pip install" in caught.value.step


def test_a_program_beside_this_python_is_found(
    program: KeyringProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after `pip install keyring` in the environment of a mirror that is started by its path."""
    program.has({INDEX: ("me", "p")})
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("sys.executable", str(program.file.with_name("python")))
    assert logins.keyring_program() == str(program.file)
