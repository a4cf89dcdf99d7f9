"""Whose archive is it: the name and the version that stand inside against those of the file name.

Lives here: reading the two fields out of METADATA or PKG-INFO, and comparing them as generously
as twenty years of tools demand. Does not live here: finding that file in an archive.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from packaging.utils import canonicalize_name

from pypimirror import bounded
from pypimirror.filenames import version_of, version_text
from pypimirror.model import Reason
from pypimirror.verify.limits import ArchiveError, shown

_FIELD = re.compile(rb"^(Name|Version)[ \t]*:[ \t]*([^\r\n]*)", re.I | re.M)
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n|\r\r")
# What distutils and setuptools replace in names, beside what today's rules do.
_ODD = re.compile(r"[^A-Za-z0-9.]+")
_SEPARATORS = re.compile(r"[-_.+~ ]+")


@dataclass(frozen=True)
class Identity:
    """Whose archive a file should be."""

    filename: str
    project: str  #: a ProjectName

    def check_metadata(self, content: bytes, where: str) -> None:
        """Hold METADATA or PKG-INFO of the entry `where` against the file name.

        Raises `ArchiveError`: BAD_ARCHIVE where the fields are missing, WRONG_PROJECT where they
        name something else.
        """
        end = _END_OF_HEADERS.search(content)
        head = content[: end.start()] if end else content
        found: dict[bytes, set[str]] = {b"name": set(), b"version": set()}
        for match in _FIELD.finditer(head):
            values = found[match[1].lower()]
            if len(values) < 2:
                values.add(match[2].decode("utf-8", "replace").strip())
        for field, values in found.items():
            if len(values) != 1 or values == {""}:
                many = "several" if len(values) > 1 else "no"
                raise ArchiveError(f"has {many} {field.decode().title()} in {shown(where)}")
        self.check(found[b"name"].pop(), found[b"version"].pop(), where)

    def check(self, name: str, version: str, where: str) -> None:
        """Hold a name and a version against the file name; raises WRONG_PROJECT."""
        if not self.is_named(name):
            raise ArchiveError(
                f"names the project {shown(name)} in {shown(where)}", Reason.WRONG_PROJECT
            )
        if not self.has_version(version):
            raise ArchiveError(
                f"names the version {shown(version)} in {shown(where)}", Reason.WRONG_PROJECT
            )

    def is_named(self, name: str) -> bool:
        """Whether a name is that of the project."""
        return canonicalize_name(_ODD.sub("-", name)) == self.project

    def has_version(self, version: str) -> bool:
        """Whether a version is that of the file name, or the file name has none."""
        text = version_text(self.filename, self.project)
        if text is None:
            return True
        stated = bounded.version(version)
        if stated is None:
            return _loose(version) == _loose(text)
        return stated == version_of(self.filename, self.project)


def _loose(version: str) -> str:
    return _SEPARATORS.sub("-", version).strip("-").lower()
