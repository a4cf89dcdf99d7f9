"""uv as a child process: a question goes in, a `pylock.toml` or the reason why not comes out.

uv knows how installers choose releases, so this program has no resolver of its own (decision 0060).
It comes with the extra `pypimirror[resolve]`; else the one that PATH leads to is taken, where it is
new enough.

**The rule.** uv hears nothing but the question (`pypimirror.resolve.child`), and runs no code of a
package unless `builds` allows it.

Lives here: finding it, its command line, its answers. Does not live here: which platform it means
by which name (`pypimirror.resolve.platforms`), and what is asked.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from pypimirror.resolve import child
from pypimirror.resolve.child import PATIENCE
from pypimirror.resolve.child import NoSolutionError as NoSolutionError
from pypimirror.resolve.child import ResolveError as ResolveError

#: The oldest that writes `pylock.toml` as it is read here.
FLOOR = (0, 7, 0)

_MOMENT = 30.0  #: seconds until it has to say its version

#: uv's own settings: it finds none, and keeps nothing.
_QUIET = {
    "UV_NO_CONFIG": "1",
    "UV_NO_ENV_FILE": "1",
    "UV_NO_PROGRESS": "1",
    "UV_KEYRING_PROVIDER": "disabled",
    "UV_PYTHON_DOWNLOADS": "never",
}

_VERSION = re.compile(r"uv (\d+)\.(\d+)\.(\d+)")
#: What it says first where the question itself has no answer.
_UNSOLVED = re.compile(r"no solution found|unsatisfiable", re.I)

_INSTALL = "install it with: pip install 'pypimirror[resolve]'"


@dataclass(frozen=True)
class Index:
    """Where releases are looked for."""

    url: str  #: of a simple index, with a login where it takes one
    others: tuple[str, ...] = ()  #: indexes that are asked first; the first that has a project wins
    ca_file: str | None = None
    proxy: str | None = None
    cache: str | None = None  #: a directory for what it keeps from one question to the next


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
            variables = _variables(question, index, scratch)
            ended = child.run(command, variables, scratch, patience)
        if ended.code == 0:
            return ended.out
        said = child.told(ended.err)
        if _UNSOLVED.search(ended.err):
            raise NoSolutionError(said)
        raise ResolveError(f"uv could not resolve this (it ended with {ended.code}): {said}")


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
    ended = child.run([path, "--version"], child.bare(os.curdir), os.curdir, _MOMENT)
    found = _VERSION.match(ended.out)
    if found is None:
        raise ResolveError(f"{path} does not say that it is uv; {_INSTALL}")
    return int(found[1]), int(found[2]), int(found[3])


def _arguments(question: Question, scratch: Path) -> list[str]:
    """Return the command line; requirements and constraints go into files, as they may be long."""
    wanted = child.write(scratch / "requirements.in", question.requirements)
    narrower = child.write(scratch / "constraints.txt", question.constraints)
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
    return [*command, *question.options, "--constraints", narrower, wanted]


def _variables(question: Question, index: Index, scratch: str) -> dict[str, str]:
    """Return its environment. Addresses go there: a command line, all users can read."""
    found = child.bare(scratch) | _QUIET | {"UV_DEFAULT_INDEX": index.url}
    found |= {"UV_CACHE_DIR": index.cache} if index.cache else {"UV_NO_CACHE": "1"}
    found |= question.environment.variables
    if index.others:
        found["UV_INDEX"] = " ".join(index.others)
    if index.ca_file:
        found["SSL_CERT_FILE"] = index.ca_file
    if index.proxy:
        found |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), index.proxy)
    return found
