"""uv as a child process: it gets a question, and returns a `pylock.toml` or a reason.

uv knows how installers choose releases, so this program has no resolver of its own (decision 0060).
uv comes with the extra `pypimirror[resolve]`. Without it, the uv on the PATH is used if it is new
enough.

**The rule.** uv gets only the question (`pypimirror.resolve.child`), and runs no code of a package
unless `builds` allows it.

This module finds uv, and knows its command line and its answers. `pypimirror.resolve.platforms`
knows its names of platforms. Callers decide what to ask.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from pypimirror.resolve import child
from pypimirror.resolve.child import PATIENCE
from pypimirror.resolve.child import NoResultError as NoResultError
from pypimirror.resolve.child import NoSolutionError as NoSolutionError
from pypimirror.resolve.child import ResolveError as ResolveError

#: The oldest version whose `pylock.toml` can be read here.
FLOOR = (0, 7, 0)

_MOMENT = 30.0  #: seconds in which it must print its version

#: Variables for uv: it reads no settings and stores nothing.
_QUIET = {
    "UV_NO_CONFIG": "1",
    "UV_NO_ENV_FILE": "1",
    "UV_NO_PROGRESS": "1",
    "UV_KEYRING_PROVIDER": "disabled",
    "UV_PYTHON_DOWNLOADS": "never",
}

_VERSION = re.compile(r"uv ([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})")
#: An address in its answer that leads to this machine.
_FILE = re.compile(r'url = "(file:[^"]{0,400})')
#: Parts of its output if the question has no solution. uv takes no release that requires another
#: from a direct address, whatever the indexes have.
_UNSOLVED = re.compile(r"no solution found|unsatisfiable|URL dependencies must be", re.I)

_INSTALL = "install it with: pip install 'pypimirror[resolve]'"


@dataclass(frozen=True)
class Indexes:
    """The indexes in which releases are searched."""

    url: str  #: of a simple index, with a login if it needs one
    others: tuple[str, ...] = ()  #: indexes that are asked first; the first that has a project wins
    ca_file: str | None = None
    proxy: str | None = None  #: for everything; then it is the only way out
    cache: str | None = None  #: a directory for its cache between questions

    def check(self, answer: str) -> None:
        """Raise `ResolveError` if an answer names a file of this machine that no index is on.

        uv reads such a file when a page on the network names it, and a proxy cannot stop that.
        """
        found = _FILE.search(answer)
        if found and not any(url.startswith("file:") for url in (self.url, *self.others)):
            raise ResolveError(
                f"a page of the index names a file of this machine, {found[1]}, and uv chose it. "
                "A mirror takes no such file; exclude the release with a requirement in "
                "select.projects, or tell the index's owner"
            )


@dataclass(frozen=True)
class Environment:
    """The environment of a solution. Without a Python or a platform, it is the running one."""

    python: str | None = None  #: such as "3.12", or "3.12.4"
    platform: str | None = None  #: uv's name
    variables: Mapping[str, str] = field(default_factory=dict)  #: further facts on the platform
    universal: bool = False  #: for all platforms at once, from this Python on


@dataclass(frozen=True)
class ResolveRequest:
    """The requirements to resolve: lines of a requirements file, without options and addresses."""

    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    environment: Environment = Environment()
    prereleases: str = "if-necessary-or-explicit"
    #: Whether sdists count. If one has no static core metadata, uv runs its code to get it.
    builds: bool = False
    options: tuple[str, ...] = ()  #: further ones of `uv pip compile`


@dataclass(frozen=True)
class Uv:
    """A usable uv."""

    path: str
    version: tuple[int, int, int]

    def resolve(
        self,
        question: ResolveRequest,
        index: Indexes,
        patience: float = PATIENCE,
        cancelled: threading.Event | None = None,
    ) -> str:
        """Return a `pylock.toml` with the chosen releases.

        Raises `NoSolutionError` if there is no solution, `NoResultError` for other failures, and
        `Cancelled` soon after another thread sets `cancelled`.
        """
        with TemporaryDirectory(prefix="pypimirror-uv-") as scratch:
            command = [self.path, *_arguments(question, Path(scratch))]
            variables = _variables(question, index, scratch)
            ended = child.run(command, variables, scratch, patience, cancelled)
        if ended.code == 0:
            index.check(ended.out)
            return ended.out
        said = child.told(ended.err)
        if _UNSOLVED.search(ended.err):
            raise NoSolutionError(said)
        raise NoResultError(f"uv could not resolve this (it ended with {ended.code}): {said}")


@lru_cache(maxsize=1)
def find() -> Uv:
    """Return the uv to use: the one installed beside this program, else the one on the PATH.

    Raises `ResolveError` if there is none, or if it is too old.
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
    """Return the program of the package `uv`, if it is installed."""
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


def _arguments(question: ResolveRequest, scratch: Path) -> list[str]:
    """Return the command line; requirements and constraints are in files, as they may be long."""
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


def _variables(question: ResolveRequest, index: Indexes, scratch: str) -> dict[str, str]:
    """Return its environment. It has the addresses, because all users can read a command line."""
    found = child.bare(scratch) | _QUIET | {"UV_DEFAULT_INDEX": index.url}
    found |= {"UV_CACHE_DIR": index.cache} if index.cache else {"UV_NO_CACHE": "1"}
    found |= question.environment.variables
    if index.others:
        found["UV_INDEX"] = " ".join(index.others)
    if index.ca_file:
        found["SSL_CERT_FILE"] = index.ca_file
    if index.proxy:
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), index.proxy)
        proxies["NO_PROXY"] = ""
        found |= proxies | {name.lower(): value for name, value in proxies.items()}
    return found
