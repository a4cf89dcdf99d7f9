"""Find the project of a file on a page of links, where only its name can tell.

The rules:

1. The project of a wheel or an egg is the part of the name before the first dash.
2. Every other name is a project, a dash and a version, and both may contain dashes. So there may be
   several places where the rest is a version. If one of them gives a project that somebody asked
   for by name, it counts (the longest of several); otherwise the first place counts:
   "foo-1.0-1.tar.gz" is release 1.0-1 of foo, unless somebody asked for foo-1.0.
3. If there is no such place, an underscore may be used instead of the dash, as old tools did. In
   Debian packages it always is.
4. If there is no version ("foo-latest.zip", "foo1.0.zip"), it is the longest possible project among
   those that somebody asked for, else the part before the last dash.

These are pure functions on strings. `pypimirror.domain.filenames` decides whether a name is safe.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from packaging.utils import canonicalize_name

from pypimirror.domain.filenames import MAX_BYTES, belongs, system_prefix, version_of
from pypimirror.domain.formats import format_of
from pypimirror.domain.model import ProjectName

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,238}[a-z0-9])?")
_VERSION_START = re.compile(r"v?[0-9]", re.I)


def project_of(filename: str, named: Collection[ProjectName] = ()) -> ProjectName | None:
    """Return the project that a file belongs to; None if its name does not tell.

    `named` are the projects that somebody asked for by name. They decide ambiguous names.
    """
    if len(filename) > MAX_BYTES:
        return None
    form = format_of(filename)
    naming = form.naming if form else "sdist"
    if naming == "dashes":
        return _valid(filename.partition("-")[0])
    name = filename[system_prefix(filename) :]
    for separator in "_-" if naming == "deb" else "-_":
        found = [p for p in _prefixes(name, separator) if version_of(filename, p) is not None]
        if found:
            return max((p for p in found if p in named), key=len, default=found[0])
    possible = [project for project in named if belongs(filename, project)]
    return max(possible, key=len, default=_valid(name.rpartition("-")[0]))


def _prefixes(name: str, separator: str) -> Iterator[ProjectName]:
    """Yield the projects that a name may begin with, if the rest may be a version."""
    position = name.find(separator)
    while position > 0:
        if _VERSION_START.match(name, position + 1) and (project := _valid(name[:position])):
            yield project
        position = name.find(separator, position + 1)


def _valid(name: str) -> ProjectName | None:
    project = canonicalize_name(name)
    return ProjectName(project) if _NAME.fullmatch(project) else None
