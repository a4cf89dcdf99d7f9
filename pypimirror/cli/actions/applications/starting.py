"""`pypimirror init` for an application: its requirements, and the environment to mirror for.

The environment is that of the active virtual environment, else the one that this program runs in.
To mirror for more environments, the operator adds them to `python` and `platforms`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.utils import canonicalize_name

from pypimirror.check import subjects
from pypimirror.check.targets import running_target
from pypimirror.config.settings import ConfigError
from pypimirror.domain import bounded
from pypimirror.resolve import uv
from pypimirror.resolve.child import ResolveError
from pypimirror.select.locks import registry
from pypimirror.select.locks.lock import UnreadableLockError

_PYTHON = re.compile(r"python(3\.[0-9]+t?)")


@dataclass(frozen=True)
class Application:
    """The keys of `[select]` for an application."""

    projects: tuple[str, ...] = ()
    locks: tuple[str, ...] = ()
    python: str = ""
    platform: str = ""
    notes: tuple[str, ...] = ()  #: what was left out

    @property
    def names_all(self) -> bool:
        """Whether every needed release is named, so that no dependencies must be found."""
        return not any(each.startswith("-r") for each in self.projects)

    def lines(self) -> Iterator[str]:
        """Yield further lines of `[select]`."""
        if self.locks:
            yield f"locks = {_list(self.locks)}"
        yield "# The environments to mirror for: this machine's. Add those of the others."
        yield f"python = {_list([self.python])}"
        yield f"platforms = {_list([self.platform, 'any'])}"
        if not self.names_all:
            yield "# Also mirror all that these projects require, directly or not."
            yield 'dependencies = "all"'
        if _can_check():
            yield "# Each sync ends with a check that all of it can be installed from here."
            yield "check = true"


def read(
    config: Path, files: Sequence[Path], locks: Sequence[Path], *, from_environment: bool
) -> Application:
    """Return what the application needs; raises `ConfigError` if a file cannot be read."""
    target = running_target()
    python, projects, notes = target.python, [], []
    for path in files:
        subjects.of_file(path, str(path))  # it raises if the file has faults
        projects.append(f"-r {_beside(path, config)}")
    for path in locks:
        try:
            registry.read(path.absolute())
        except UnreadableLockError as error:
            raise ConfigError(str(error)) from error
    environment = os.environ.get("VIRTUAL_ENV")
    places = _places(Path(environment)) if environment else []
    if places:
        python = places[0][0]
    if from_environment:
        if environment is None:
            raise ConfigError("--from-environment: no virtual environment is active; activate it")
        for _, place in places:
            found = list(distributions(path=[str(place)]))
            projects += sorted(filter(None, map(_pin, found)))
            notes += sorted(f"{d.name} is from elsewhere" for d in found if _is_foreign(d))
        if not projects:
            raise ConfigError(f"--from-environment: {environment}: nothing is installed there")
    return Application(
        tuple(dict.fromkeys(projects)),
        tuple(_beside(path, config) for path in locks),
        python,
        target.platform,
        tuple(notes),
    )


def _places(environment: Path) -> list[tuple[str, Path]]:
    """Return the package directories of a virtual environment, each with its version of Python."""
    found = [
        (named[1], place)
        for place in sorted(environment.glob("lib*/python3.*/site-packages"))
        if (named := _PYTHON.fullmatch(place.parent.name))
    ]
    return [each for each in found if not each[1].parent.parent.is_symlink()]


def _pin(distribution: Distribution) -> str | None:
    """Return an installed release as an entry; None if it came from no index."""
    name, version = distribution.name, distribution.version
    if _is_foreign(distribution) or not name or bounded.version(version) is None:
        return None
    return f"{canonicalize_name(name)}=={version}"


def _is_foreign(distribution: Distribution) -> bool:
    """Whether it was installed from an address or a directory (PEP 610)."""
    return distribution.read_text("direct_url.json") is not None


def _beside(path: Path, config: Path) -> str:
    """Return a path relative to the directory of the configuration."""
    return os.path.relpath(path.absolute(), config.absolute().parent)


def _can_check() -> bool:
    try:
        uv.find()
    except ResolveError:
        return False
    return True


def _list(texts: Sequence[str]) -> str:
    return json.dumps(list(texts), ensure_ascii=False)
