"""uv as a child process: a question goes in, a `pylock.toml` or the reason why not comes out.

uv knows how installers choose releases, so this program has no resolver of its own
(decision 0060). It comes with the extra `pypimirror[resolve]`; else the one
that PATH leads to is taken, where it is new enough.

**The rule.** uv hears nothing but the question. Its environment has none of the person's or the
machine's settings: no configuration, no login, no keyring, no cache, no other index, no proxy. It
runs no code of a package unless `builds` allows it, and it ends when its time is over, or when
who asked ends.

Lives here: finding it, its command line, its answers. Does not live here: which platform it means
by which name (`pypimirror.resolve.platforms`), and what is asked.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from pypimirror.domain.addresses import redacted
from pypimirror.domain.model import PypimirrorError

#: The oldest that writes `pylock.toml` as it is read here.
FLOOR = (0, 7, 0)

PATIENCE = 600.0  #: seconds until an answer has to be there
_GRACE = 5.0  #: seconds until what was killed has to be gone
_LONGEST = 4000  #: characters of what it said that are told

#: What it finds of this process's environment: where programs and scratch space are.
_KEPT = ("PATH", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT")

_VERSION = re.compile(r"uv (\d+)\.(\d+)\.(\d+)")
#: What it says first where the question itself has no answer.
_UNSOLVED = re.compile(r"no solution found|unsatisfiable", re.I)
_PREFIX = re.compile(r"^\s*(?:error:|cause:|[\u00d7\u2500-\u257f\u25b6\s]+|Caused by:)\s*")

_INSTALL = "install it with: pip install 'pypimirror[resolve]'"


class ResolveError(PypimirrorError):
    """uv cannot be asked, or did not answer; the message says what to do."""


class NoSolutionError(ResolveError):
    """uv's answer is that nothing fits; the message is its reason."""


@dataclass(frozen=True)
class Index:
    """Where releases are looked for."""

    url: str  #: of a simple index, with a login where it takes one
    others: tuple[str, ...] = ()  #: indexes that are asked first; the first that has a project wins
    ca_file: str | None = None
    proxy: str | None = None


@dataclass(frozen=True)
class Environment:
    """What is resolved for. Without a Python it is the running one, without a platform, too."""

    python: str | None = None  #: such as "3.12", or "3.12.4"
    platform: str | None = None  #: as uv calls it
    variables: Mapping[str, str] = field(default_factory=dict)  #: that say more of the platform
    universal: bool = False  #: for all platforms at once, from this Python on


@dataclass(frozen=True)
class Question:
    """What is to be resolved: lines of a requirements file, without options and addresses."""

    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    environment: Environment = Environment()
    prereleases: str = "if-necessary-or-explicit"
    #: Whether sdists count. Where one has no static core metadata, uv runs its code to get it.
    builds: bool = False
    options: tuple[str, ...] = ()  #: further ones of `uv pip compile`


@dataclass(frozen=True)
class Uv:
    """A uv that can be asked."""

    path: str
    version: tuple[int, int, int]

    def resolve(self, question: Question, index: Index, patience: float = PATIENCE) -> str:
        """Return a `pylock.toml` with what was chosen.

        Raises `NoSolutionError` where nothing fits, else `ResolveError`.
        """
        with TemporaryDirectory(prefix="pypimirror-uv-") as scratch:
            command = [self.path, *_arguments(question, Path(scratch))]
            code, out, err = _run(command, _variables(question, index, scratch), scratch, patience)
        if code == 0:
            return out
        said = told(err)
        if _UNSOLVED.search(err):
            raise NoSolutionError(said)
        raise ResolveError(f"uv could not resolve this (it ended with {code}): {said}")


@lru_cache(maxsize=1)
def find() -> Uv:
    """Return the uv to ask: the one installed beside this program, else the one of PATH.

    Raises `ResolveError` where there is none, or where it is too old.
    """
    path = _beside() or shutil.which("uv")
    if path is None:
        raise ResolveError(f"uv is needed for this and is not here; {_INSTALL}")
    version = _version_of(path)
    if version < FLOOR:
        floor, own = (".".join(map(str, each)) for each in (FLOOR, version))
        raise ResolveError(f"{path} is uv {own}, and {floor} or later is needed; {_INSTALL}")
    return Uv(path, version)


def _beside() -> str | None:
    """Return the program of the package `uv`, where that is installed."""
    try:
        from uv import find_uv_bin

        return find_uv_bin()
    except (ImportError, FileNotFoundError):
        return None


def _version_of(path: str) -> tuple[int, int, int]:
    _, out, _ = _run([path, "--version"], _bare("."), os.curdir, _GRACE * 6)
    found = _VERSION.match(out)
    if found is None:
        raise ResolveError(f"{path} does not say that it is uv; {_INSTALL}")
    return int(found[1]), int(found[2]), int(found[3])


def _arguments(question: Question, scratch: Path) -> list[str]:
    """Return the command line; requirements and constraints go into files, as they may be long."""
    wanted, narrower = scratch / "requirements.in", scratch / "constraints.txt"
    _write(wanted, question.requirements)
    _write(narrower, question.constraints)
    environment = question.environment
    command = ["pip", "compile", "--quiet", "--no-header", "--format", "pylock.toml"]
    command += ["--python", sys.executable, "--prerelease", question.prereleases]
    if environment.python:
        command += ["--python-version", environment.python]
    if environment.universal:
        command += ["--universal"]
    elif environment.platform:
        command += ["--python-platform", environment.platform]
    if not question.builds:
        command += ["--no-build"]
    return [*command, *question.options, "--constraints", str(narrower), str(wanted)]


def _write(file: Path, lines: tuple[str, ...]) -> None:
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _bare(scratch: str) -> dict[str, str]:
    """Return an environment in which uv is told nothing, and keeps nothing."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return kept | {
        "HOME": scratch,  # no netrc, no store of logins, no cache
        "NETRC": os.devnull,
        "NO_COLOR": "1",
        "UV_NO_CONFIG": "1",
        "UV_NO_CACHE": "1",
        "UV_NO_ENV_FILE": "1",
        "UV_NO_PROGRESS": "1",
        "UV_KEYRING_PROVIDER": "disabled",
        "UV_PYTHON_DOWNLOADS": "never",
    }


def _variables(question: Question, index: Index, scratch: str) -> dict[str, str]:
    """Return its environment. Addresses go there: a command line, all users can read."""
    found = _bare(scratch) | {"UV_DEFAULT_INDEX": index.url, **question.environment.variables}
    if index.others:
        found["UV_INDEX"] = " ".join(index.others)
    if index.ca_file:
        found["SSL_CERT_FILE"] = index.ca_file
    if index.proxy:
        found |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), index.proxy)
    return found


def _run(
    command: list[str], variables: Mapping[str, str], directory: str, patience: float
) -> tuple[int, str, str]:
    """Return how uv ended and what it wrote; whatever it started ends with it."""
    try:
        started = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(variables),
            cwd=directory,  # where no project and no version file is found
            start_new_session=True,
        )
    except OSError as error:
        cause = error.strerror or error
        raise ResolveError(f"{command[0]} cannot be run: {cause}; {_INSTALL}") from error
    try:
        out, err = started.communicate(timeout=patience)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.killpg(started.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.communicate(timeout=_GRACE)
        if isinstance(error, subprocess.TimeoutExpired):
            raise ResolveError(f"uv has not answered within {patience:.0f} s") from error
        raise
    return started.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")


def told(err: str) -> str:
    """Return what uv wrote as one text without marks, warnings, logins and broken lines."""
    kept: list[str] = []
    for line in err.splitlines():
        text = _PREFIX.sub("", line).strip()
        if not text or line.startswith("warning:"):
            continue
        kept.append("".join(c if c.isprintable() else " " for c in text))
    return redacted(" ".join(kept) or "it did not say why")[:_LONGEST]
