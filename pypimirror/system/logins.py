"""Logins that this machine keeps: in a netrc file, and in a keyring, by the program `keyring`.

A keyring is asked as pip asks it: by the address of the index, then by its host, for a name and a
password. Whoever asks has no time and no hands: the program gets no input and no terminal, so that
it cannot prompt, and is ended when its time is up.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from pypimirror.domain.addresses import basic, redacted

#: Seconds that the program has for all questions together.
PATIENCE = 20.0
_GRACE = 1.0  #: seconds until the end of what was killed is not waited for any more
_LONGEST = 200  #: characters of its last words
_INSTALL = (
    "Install it with 'pip install --upgrade keyring', beside pypimirror or where the PATH leads to"
)
_OUTDATED = ("unrecognized arguments", "--mode")


def netrc_login(host: str, *, or_default: bool = False) -> str:
    """Return what a netrc file (NETRC, else the home directory's) has for a host, empty for none.

    One that cannot be read has nothing, as other programs have it.
    """
    import netrc  # not all who know of keyrings read one

    preset = os.environ.get("NETRC")
    for file in [preset] if preset else ["~/.netrc", "~/_netrc"]:
        path = Path(file).expanduser()
        if path.exists():
            try:
                hosts = netrc.netrc(path).hosts
            except (netrc.NetrcParseError, OSError, UnicodeDecodeError):
                return ""
            found = hosts.get(host) or (hosts.get("default") if or_default else None)
            return basic(found[0], found[2]) if found and (found[0] or found[2]) else ""
    return ""


class Keyring(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a keyring is asked for. The name may be a token, and is told nobody else."""

    services: tuple[str, ...]  #: names that the login may have there, tried in turn
    username: str | None = None  #: the login's; None where the keyring is to tell
    said: str = ""  #: by whose setting; empty where one is asked only if there is one

    def __repr__(self) -> str:
        return f"Keyring(services={self.services!r}, said={self.said!r})"


class KeyringError(Exception):
    """No login was found: the cause, without a full stop, and the next step."""

    def __init__(self, cause: str, step: str) -> None:
        super().__init__(cause)
        self.step = step


def keyring_program() -> str:
    """Return the program's path, "" where there is none: on the PATH, else beside this Python."""
    return shutil.which("keyring") or shutil.which("keyring", path=_scripts()) or ""


def keyring_login(keyring: Keyring) -> tuple[str, str]:
    """Return the user name and password that the keyring has. Raises `KeyringError`."""
    path = keyring_program()
    if not path:
        raise KeyringError("there is no program 'keyring' on the PATH", _INSTALL)
    deadline = time.monotonic() + PATIENCE
    for service in keyring.services:
        if found := _ask(path, service, keyring, deadline):
            return found
    names = " or ".join(map(redacted, keyring.services))
    raise KeyringError(f"it has no login for {names}", look_there(keyring))


def look_there(keyring: Keyring) -> str:
    """Return how a person can see what the program answers."""
    user = "" if keyring.username is None else " USER"  # which may be a token, and so a secret
    command = f"keyring --mode=creds get {redacted(keyring.services[0])}{user}"
    return f"See what '{command}' answers the user who runs this"


def _scripts() -> str:
    return str(Path(sys.executable).parent)


def _ask(path: str, service: str, keyring: Keyring, deadline: float) -> tuple[str, str] | None:
    command = [path, "--mode=creds", "--output=json", "get", service]
    command += [] if keyring.username is None else [keyring.username]
    try:
        code, out, err = _run(command, max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        cause = f"{path} has not answered within {PATIENCE:.0f} s"
        raise KeyringError(cause, look_there(keyring)) from error
    except OSError as error:
        cause = f"{path} cannot be run: {error.strerror or error}"
        raise KeyringError(cause, _INSTALL) from error
    if code == 2 and all(word in err for word in _OUTDATED):
        raise KeyringError(f"{path} is older than 25.2.1 and cannot tell names", _INSTALL)
    if code and err.strip():  # it says nothing where it merely has no such login
        words = _last_words(err.replace(keyring.username or "\0", "USER"))
        raise KeyringError(f"{path} ended with {code}: {words}", look_there(keyring))
    if code:
        return None
    if found := _read(out):
        return found
    raise KeyringError(f"{path} gave an answer that cannot be read", look_there(keyring))


def _read(out: bytes) -> tuple[str, str] | None:
    """Return the login in an answer. What it is like is not told: it may hold a password."""
    with contextlib.suppress(ValueError):
        found = json.loads(out)
        if isinstance(found, dict):
            user, password = found.get("username"), found.get("password")
            if isinstance(user, str) and isinstance(password, str):
                return user, password
    return None


def _run(command: list[str], patience: float) -> tuple[int, bytes, str]:
    """Return how a command ended and what it wrote; whatever it started ends with it."""
    started = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
        start_new_session=True,  # without a terminal nothing can prompt there
    )
    try:
        out, err = started.communicate(timeout=patience)
    except BaseException:
        with contextlib.suppress(OSError):
            os.killpg(started.pid, signal.SIGKILL)
        # Not closed by hand: with gevent somebody still reads.
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.communicate(timeout=_GRACE)
        raise
    return started.returncode, out, err.decode("utf-8", "replace")


def _last_words(text: str) -> str:
    """Return the last line that a program wrote, as it can be told: short and printable."""
    line = redacted(text.strip().splitlines()[-1])
    return "".join(c if c.isprintable() else " " for c in line)[:_LONGEST].rstrip(". ")
