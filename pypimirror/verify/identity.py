"""Whose archive is it: the name and the version that stand inside against those of the file name.

Lives here: reading the two fields out of METADATA or PKG-INFO, and comparing them as generously
as twenty years of tools demand. Does not live here: finding that file in an archive.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from packaging.utils import canonicalize_name

from pypimirror.domain import bounded
from pypimirror.domain.filenames import version_of, version_text
from pypimirror.domain.model import Reason
from pypimirror.verify.archives.limits import ArchiveError, shown
from pypimirror.verify.fields import fields

# PKG-INFO is read generously: installers build an sdist to learn its name and its version.
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
        """Hold METADATA of the entry `where` against the file name, as installers read it.

        Raises `ArchiveError`: BAD_ARCHIVE where the fields are missing, WRONG_PROJECT where they
        name something else.
        """
        self._check_fields(fields(content), where)

    def check_pkg_info(self, content: bytes, where: str) -> None:
        """Hold PKG-INFO of the entry `where` against the file name; raises as `check_metadata`."""
        end = _END_OF_HEADERS.search(content)
        head = content[: end.start()] if end else content
        self._check_fields(((match[1].lower(), match[2]) for match in _FIELD.finditer(head)), where)

    def _check_fields(self, said: Iterable[tuple[bytes, bytes]], where: str) -> None:
        found: dict[bytes, set[str]] = {b"name": set(), b"version": set()}
        for field, value in said:
            values = found.get(field)
            if values is not None and len(values) < 2:
                values.add(value.decode("utf-8", "replace").strip())
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
