"""Which projects and files are mirrored: `[select]`, decided.

An entry is a name (`six`), a requirement (`requests>=2.30`) or a glob (`zope.*`). A project is
selected when an entry of `projects` names it (or there is none) and no entry of `exclude` without
a version does. A file is selected when its project is, when its version fits one of the entries
that name the project, and when the file globs let it through. Pure; no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from pypimirror.config import Config, ConfigError, selection_digest
from pypimirror.filenames import version_of
from pypimirror.model import ProjectName

_GLOB = re.compile(r"(?=.*[*?\[])[A-Za-z0-9._*?\[\]!-]+")
_SEPARATORS = re.compile(r"[-_.]+")


@dataclass(frozen=True)
class _Entry:
    """One entry of `projects` or `exclude`."""

    pattern: re.Pattern[str] | None  # of a glob; None for one project
    name: ProjectName | None
    versions: SpecifierSet | None

    def names(self, project: ProjectName) -> bool:
        return self.pattern.match(project) is not None if self.pattern else self.name == project


def _entry(text: str, key: str) -> _Entry:
    """Read one entry; raises `ConfigError`."""
    # First: "requests==2.*" and "requests[socks]" are requirements, for all their signs.
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        if _GLOB.fullmatch(text):
            # A glob is normalised as names are; its own signs are none of the separators.
            return _Entry(re.compile(translate(_SEPARATORS.sub("-", text).lower())), None, None)
        cause = str(error).splitlines()[0]
        raise ConfigError(
            f"select.{key}: {text!r} is no name, requirement or glob: {cause}"
        ) from error
    if requirement.url or requirement.marker:
        raise ConfigError(
            f"select.{key}: {text!r}: addresses and markers have no meaning for a mirror; "
            f"write {requirement.name}{requirement.specifier}"
        )
    name = ProjectName(canonicalize_name(requirement.name))
    return _Entry(None, name, requirement.specifier if str(requirement.specifier) else None)


class Selection:
    """The decisions of a configuration's `[select]` section."""

    def __init__(self, config: Config) -> None:
        select = config.select
        self._projects = [_entry(text, "projects") for text in select.projects]
        self._exclude = [_entry(text, "exclude") for text in select.exclude]
        self._files = [re.compile(translate(glob)) for glob in select.files]
        self._exclude_files = [re.compile(translate(glob)) for glob in select.exclude_files]
        self._all_files = tuple(select.files) == ("*",) and not select.exclude_files
        #: Identifies the selection; see `pypimirror.config.selection_digest`.
        self.digest = selection_digest(config)

    @cached_property
    def needs_list(self) -> bool:
        """Whether only the upstream's whole list can tell which projects are meant."""
        return not self._projects or any(entry.pattern for entry in self._projects)

    @cached_property
    def named(self) -> tuple[ProjectName, ...]:
        """The projects that are named one by one and not excluded, in the order of `projects`."""
        names = dict.fromkeys(entry.name for entry in self._projects if entry.name is not None)
        return tuple(name for name in names if self.project(name))

    def project(self, project: ProjectName) -> bool:
        """Whether anything of `project` is mirrored."""
        if self._projects and not any(entry.names(project) for entry in self._projects):
            return False
        return not any(e.names(project) for e in self._exclude if e.versions is None)

    def files(self, project: ProjectName, filenames: Iterable[str]) -> list[bool]:
        """Whether each file of `project`, which itself is selected, is mirrored."""
        wanted = [entry for entry in self._projects if entry.names(project)]
        # One entry without a version means every version, whatever the others say.
        needed = [e.versions for e in wanted if e.versions is not None]
        if len(needed) < len(wanted):
            needed = []
        refused = [e.versions for e in self._exclude if e.versions and e.names(project)]
        if self._all_files and not needed and not refused:
            return [True for _ in filenames]
        return [self._file(project, filename, needed, refused) for filename in filenames]

    def _file(
        self,
        project: ProjectName,
        filename: str,
        needed: list[SpecifierSet],
        refused: list[SpecifierSet],
    ) -> bool:
        if not any(glob.match(filename) for glob in self._files):
            return False
        if any(glob.match(filename) for glob in self._exclude_files):
            return False
        if not needed and not refused:
            return True
        version = version_of(filename, project)
        if version is None:  # no version, so no requirement is met; and none refuses it
            return not needed
        # A mirror keeps what any client may ask for, so pre-releases fit by number alone.
        if needed and not any(s.contains(version, prereleases=True) for s in needed):
            return False
        return not any(s.contains(version, prereleases=True) for s in refused)
