"""Logins that this machine stores: in a netrc file, and in a keyring, through the program
`keyring`.

A keyring is asked as pip asks it: for the address of the index, then for its host. Nobody can
answer a prompt here. So the program gets no input and no terminal, and it is killed when its time
is over.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from pypimirror.domain.addresses import basic, redacted

#: Seconds that the program has for all requests together.
PATIENCE = 20.0
_GRACE = 1.0  #: seconds to wait for the end of a killed program
_LONGEST = 200  #: most characters of its last line that are shown
_INSTALL = "Install it with 'pip install --upgrade keyring', beside pypimirror or on the PATH"
_OUTDATED = ("unrecognized arguments", "--mode")


def netrc_login(host: str, *, or_default: bool = False) -> str:
    """Return the Authorization header for a host from a netrc file; "" if there is none.

    The file is NETRC, else the one in the home directory. A file that cannot be read counts as
    empty, as in other programs.
    """
    import netrc  # imported here: not every user of this module reads a netrc file

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
    """The question for a keyring. The user name may be a token, so it is kept secret."""

    services: tuple[str, ...]  #: possible names of the login there, tried in turn
    username: str | None = None  #: of the login; None: the keyring knows it
    demanded_by: str = ""  #: the setting that demands a keyring; "": ask one only if it exists

    def __repr__(self) -> str:
        return f"Keyring(services={self.services!r}, demanded_by={self.demanded_by!r})"


class KeyringError(Exception):
    """No login was found. It has the cause, without a full stop, and the next step."""

    def __init__(self, cause: str, step: str) -> None:
        super().__init__(cause)
        self.step = step


def keyring_program() -> str:
    """Return the path of `keyring`: on the PATH, else beside this Python; "" if there is none."""
    import shutil  # it imports compressors, and few logins are in a keyring

    return shutil.which("keyring") or shutil.which("keyring", path=_scripts()) or ""


def keyring_login(keyring: Keyring) -> tuple[str, str]:
    """Return the user name and password from the keyring. Raises `KeyringError`."""
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
    """Return advice on how to see what the program answers."""
    user = "" if keyring.username is None else " USER"  # the name may be a token, so hide it
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
        raise KeyringError(f"{path} is older than 25.2.1 and cannot return user names", _INSTALL)
    if code and err.strip():  # without such a login, it prints nothing
        words = _last_words(err.replace(keyring.username or "\0", "USER"))
        raise KeyringError(f"{path} ended with {code}: {words}", look_there(keyring))
    if code:
        return None
    if found := _read(out):
        return found
    raise KeyringError(f"{path} gave an answer that cannot be read", look_there(keyring))


def _read(out: bytes) -> tuple[str, str] | None:
    """Return the login in an answer. The answer is never shown, because it may contain a
    password.
    """
    with contextlib.suppress(ValueError):
        found = json.loads(out)
        if isinstance(found, dict):
            user, password = found.get("username"), found.get("password")
            if isinstance(user, str) and isinstance(password, str):
                return user, password
    return None


def _run(command: list[str], patience: float) -> tuple[int, bytes, str]:
    """Return the exit code and the output of a command. Its child processes end with it."""
    started = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
        start_new_session=True,  # without a terminal, it cannot prompt
    )
    try:
        out, err = started.communicate(timeout=patience)
    except BaseException:
        with contextlib.suppress(OSError):
            os.killpg(started.pid, signal.SIGKILL)
        # Do not close the pipes here: under gevent, a reader is still active.
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.communicate(timeout=_GRACE)
        raise
    return started.returncode, out, err.decode("utf-8", "replace")


def _last_words(text: str) -> str:
    """Return the last line of a program's output, shortened and printable."""
    line = redacted(text.strip().splitlines()[-1])
    return "".join(c if c.isprintable() else " " for c in line)[:_LONGEST].rstrip(". ")
