"""Entries of `projects` and `exclude`: names, requirements, globs, regular expressions, files.

An entry is one of `six`, `requests>=2.30`, `zope.*`, `/^acme-/`, `-r requirements.txt` and
`@names.txt`. The last two stand for the entries of the file, which is read with the configuration.
In `exclude`, `!zope.interface` undoes the effect of earlier entries on a project.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import canonicalize_name

from pypimirror.domain import bounded
from pypimirror.domain.addresses import redacted
from pypimirror.domain.bounded import MAX_NAME, MAX_SPECIFIER
from pypimirror.domain.filenames import printable
from pypimirror.domain.model import ProjectName
from pypimirror.select.patterns import EntryError, Pattern, expression, glob
from pypimirror.system import texts

if TYPE_CHECKING:
    # Slow to import, and needed only if an entry is a requirement or names a file.
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    from pypimirror.select.environments import Environments
    from pypimirror.select.locks.lock import LockedFile
    from pypimirror.select.requirements import Required

_GLOB = re.compile(r"(?=.*[*?\[])[A-Za-z0-9._*?\[\]!-]+")
_SEPARATORS = re.compile(r"[-_.]+")
_REQUIREMENTS = re.compile(r"(?:-r|--requirement)(?:\s+|=)(?P<path>\S.*)")


class Entry(Struct, frozen=True, dict=True):
    """One project, or the projects of one pattern."""

    text: str  #: as written, for explanations
    source: str  #: its place: the configuration's key, or file and line
    pattern: Pattern | None = None  #: None for one project
    name: ProjectName | None = None
    versions: SpecifierSet | None = None  #: None for every version
    hashes: frozenset[tuple[str, str]] = frozenset()  #: algorithm and hex; empty: any bytes
    files: tuple[LockedFile, ...] = ()  #: of one release, by name; empty: any file
    is_locked: bool = False  #: whether it is a release of a lock
    is_asked: bool = False  #: whether it has files that clients have asked for
    extras: tuple[str, ...] = ()  #: requested extras, for code that follows requirements
    takes_back: bool = False  #: whether it undoes the effect of earlier entries on its projects

    def names(self, project: ProjectName) -> bool:
        """Whether the entry is about a project."""
        return self.pattern.search(project) if self.pattern else self.name == project

    @property
    def is_whole(self) -> bool:
        """Whether it is about every file of its projects."""
        return self.versions is None and not self.hashes and not self.files

    @property
    def said(self) -> str:
        """Its text after its source, for explanations."""
        return f"names {self.text}" if self.is_locked else f"{self.text!r} names the project"

    @cached_property
    def filenames(self) -> frozenset[str]:
        """The names of its files."""
        return frozenset(file.filename for file in self.files if file.filename is not None)


def about(entries: Iterable[Entry], project: ProjectName) -> list[Entry]:
    """Return the entries that apply to a project: those that no later entry takes back."""
    found: list[Entry] = []
    for entry in entries:
        if entry.names(project):
            found = [] if entry.takes_back else [*found, entry]
    return found


def read(
    texts: Iterable[str], key: str, environments: Environments, *, quiet: bool = False
) -> list[Entry]:
    """Read the entries of a key, which has this name in messages; raises `EntryError`.

    If `quiet`, do not log which lines of requirements files are ignored.
    """
    found = [entry for text in texts for entry in _read(text, key, environments, quiet)]
    for entry in found:
        if entry.takes_back and key != "select.exclude":
            raise EntryError(f"{entry.source}: {entry.text!r}: only 'exclude' can take back")
    return found


def _read(text: str, source: str, environments: Environments, quiet: bool) -> Iterator[Entry]:
    if text.startswith("@"):
        path = Path(text[1:].strip())
        for number, line in enumerate(_lines(path, source), start=1):
            if entry := line.partition("#")[0].strip():
                yield _entry(entry, f"{path}:{number}")
    elif found := _REQUIREMENTS.fullmatch(text.strip()):
        yield from _required(Path(found["path"]), source, environments, quiet)
    else:
        yield _entry(text, source)


def _lines(path: Path, source: str) -> list[str]:
    try:
        return texts.read(path).splitlines()
    except texts.TextError as error:
        raise EntryError(f"{source}: {path}: {error}") from error


def _required(path: Path, source: str, environments: Environments, quiet: bool) -> Iterator[Entry]:
    from pypimirror.select import requirements

    try:
        log = requirements.log
        found = list(requirements.read(path, log.debug if quiet else log.warning))
    except requirements.RequirementsError as error:
        raise EntryError(f"{source}: {error}") from error
    for item in found:
        for requirement in _meanings(item, environments):
            yield Entry(
                str(requirement),
                item.source,
                name=_name(requirement, item.source),
                versions=requirement.specifier if str(requirement.specifier) else None,
                hashes=item.hashes,
                extras=_extras(requirement),
            )


def _meanings(item: Required, environments: Environments) -> Iterator[Requirement]:
    """Yield the requirements in the environments: several if their constraints differ."""
    requirement = item.requirement
    if not item.narrower:
        if requirement.marker is None or environments.meet(requirement.marker):
            yield requirement
        return
    from packaging.requirements import Requirement

    for specifiers in environments.narrowed(requirement, item.narrower):
        meant = Requirement(str(requirement))
        meant.specifier = specifiers
        yield meant


def _entry(text: str, source: str) -> Entry:
    if text.startswith("!"):
        taken = _entry(text[1:].strip(), source)
        if taken.versions is not None or taken.takes_back:
            raise EntryError(f"{source}: {text!r}: only whole projects can be taken back")
        return replace(taken, text=text, takes_back=True)
    if text.startswith("/"):
        return Entry(text, source, pattern=expression(text, source))
    from packaging.requirements import InvalidRequirement, Requirement

    # First, because "requests==2.*" and "requests[socks]" look like globs but are requirements.
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        if _GLOB.fullmatch(text):
            # A glob is normalised like names; its special characters are no separators.
            return Entry(text, source, pattern=glob(_SEPARATORS.sub("-", text).lower()))
        cause = str(error).splitlines()[0]
        raise EntryError(
            f"{source}: {redacted(text)!r} is no name, requirement, glob or /regular expression/: "
            f"{cause}"
        ) from error
    if requirement.url or requirement.marker:
        raise EntryError(
            f"{source}: {redacted(text)!r}: addresses and markers have no meaning for a mirror; "
            f"write {requirement.name}{requirement.specifier}"
        )
    name = _name(requirement, source)
    return Entry(
        text,
        source,
        name=name,
        versions=requirement.specifier if requirement.specifier else None,
        extras=_extras(requirement),
    )


def needed(project: ProjectName, versions: str) -> Entry:
    """Return the entry for a project that selected releases need; versions "" means all."""
    allowed = bounded.specifiers(versions) if versions else None
    return Entry(f"{project}{versions}", "select.dependencies", name=project, versions=allowed)


def asked(project: ProjectName, filenames: Iterable[str]) -> Entry:
    """Return the entry for files of a project that clients have asked for."""
    from pypimirror.select.locks.lock import LockedFile

    files = tuple(LockedFile(filename) for filename in filenames)
    return Entry(project, "on_demand.projects", name=project, files=files, is_asked=True)


def _extras(requirement: Requirement) -> tuple[str, ...]:
    return tuple(sorted({canonicalize_name(extra) for extra in requirement.extras}))


def _name(requirement: Requirement, source: str) -> ProjectName:
    """Return the project that a requirement names, if it can be used here; raises `EntryError`."""
    name = canonicalize_name(requirement.name)
    for what, text, most in (
        ("name of a project", name, MAX_NAME),
        ("version specifier", str(requirement.specifier), MAX_SPECIFIER),
    ):
        if len(text) > most:
            shown = printable(text, 60)
            raise EntryError(
                f"{source}: {shown!r}: no {what} has more than {most} characters; shorten it"
            )
    return ProjectName(name)
