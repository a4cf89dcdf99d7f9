"""The sets of requirements to check: from files, from the command line, from `[select]`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from pypimirror.check.targets import Target
from pypimirror.config.settings import Config, ConfigError
from pypimirror.domain import bounded
from pypimirror.domain.addresses import redacted
from pypimirror.domain.filenames import printable
from pypimirror.select import requirements
from pypimirror.system import texts

#: The name of the set of all entries that name one project.
PROJECTS = "[select] projects"

_FILE = re.compile(r"(?:-r|--requirement)(?:\s+|=)(?P<path>\S.*)")


@dataclass(frozen=True)
class Wanted:
    """Requirements that are installed together."""

    name: str  #: the name for people: a file, or the requirements themselves
    requirements: tuple[Requirement, ...]
    constraints: tuple[Requirement, ...] = ()
    lock: Path | None = None  #: the file, if it has digests and so is a lock

    def narrower(self, target: Target) -> dict[str, SpecifierSet]:
        """Return the constraints that apply in an environment, by project."""
        found: dict[str, SpecifierSet] = {}
        for each in self.constraints:
            if target.meets(each.marker):
                name = canonicalize_name(each.name)
                found[name] = found.get(name, SpecifierSet()) & each.specifier
        return found

    def apart(self) -> Iterator[Wanted]:
        """Yield each requirement as a set of its own."""
        for each in self.requirements:
            yield Wanted(str(each), (each,), self.constraints)


def of_file(path: Path, name: str) -> Wanted:
    """Return the requirements of a file; raises `ConfigError`."""
    try:
        wanted, narrower = requirements.parts(path)
    except requirements.RequirementsError as error:
        raise ConfigError(str(error)) from error
    # If one line has a digest, pip demands one for every file.
    lock = path if any(each.hashes for each in wanted) else None
    return Wanted(name, tuple(each.requirement for each in wanted), tuple(narrower), lock)


def of_texts(written: Sequence[str]) -> Wanted:
    """Parse requirements as people write them; raises `ConfigError`."""
    found = []
    for text in written:
        shown = printable(redacted(text), 200)
        try:
            required = bounded.requirement(text)
        except ValueError as error:
            raise ConfigError(
                f"{shown!r} is no requirement such as 'six>=1.16': {error}; name a requirements "
                "file with -r, and a lock with --lock"
            ) from error
        if required.url:
            raise ConfigError(f"{shown!r} names an address, and no mirror has one")
        found.append(required)
    return Wanted(" ".join(written), tuple(found))


def of_config(config: Config) -> list[Wanted]:
    """Return the requirements of `[select] projects`, as sets that are installed together.

    Each requirements file is a set of its own, and so are all entries that name one project. Globs
    and regular expressions name nothing to install.
    """
    found, plain = [], []
    for text in config.select.projects:
        if file := _FILE.fullmatch(text.strip()):
            found.append(of_file(Path(file["path"]), text))
        elif text.startswith("@"):
            plain += list(_listed(Path(text[1:].strip())))
        else:
            plain.append(text)
    named = [required for text in plain if (required := _named(text)) is not None]
    if named:
        found.append(Wanted(PROJECTS, tuple(named)))
    return found


def _listed(path: Path) -> Iterator[str]:
    try:
        for line in texts.read(path).splitlines():
            yield line.partition("#")[0].strip()
    except texts.TextError as error:
        raise ConfigError(f"select.projects: {path}: {error}") from error


def _named(text: str) -> Requirement | None:
    """Return the requirement of an entry; None if it does not name one project."""
    try:
        return bounded.requirement(text)
    except ValueError:
        return None
