"""Whose a file is, where nothing but its name can tell: on pages of links.

The rules:

1. A wheel and an egg name their project without doubt: what stands before the first dash.
2. Everything else is a project, a dash and a version, and both may have dashes in them. Of the
   places where it can be cut so that a version is left, the one counts that leaves a project
   which somebody asked for by name (the longest of several), else the first:
   "foo-1.0-1.tar.gz" is release 1.0-1 of foo, unless foo-1.0 was asked for.
3. Without such a place, an underscore may stand for the dash, as old tools had it. In packages
   of Debian it always does.
4. Without any version ("foo-latest.zip", "foo1.0.zip"), it is the longest project of those asked
   for that it can belong to, else what stands before the last dash.

Pure functions on strings; whether a name is safe is decided in `pypimirror.domain.filenames`.
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
    """The project that a file belongs to, None where its name does not tell.

    `named` are the projects that somebody asked for: they decide where a name is ambiguous.
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
    """The projects that a name can begin with, so that what follows may be a version."""
    position = name.find(separator)
    while position > 0:
        if _VERSION_START.match(name, position + 1) and (project := _valid(name[:position])):
            yield project
        position = name.find(separator, position + 1)


def _valid(name: str) -> ProjectName | None:
    project = canonicalize_name(name)
    return ProjectName(project) if _NAME.fullmatch(project) else None
