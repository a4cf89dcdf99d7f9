"""Compare name and version inside an archive with those of its file name.

This module reads both fields from METADATA or PKG-INFO. The comparison is loose, because tools have
spelled names and versions in many ways for twenty years. Other modules find the file in the
archive.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct
from packaging.utils import canonicalize_name

from pypimirror.domain import bounded
from pypimirror.domain.filenames import version_of, version_text
from pypimirror.domain.model import Reason
from pypimirror.verify.archives.limits import ArchiveError, shown
from pypimirror.verify.fields import fields

# PKG-INFO is read loosely: installers build an sdist to learn its name and version.
_FIELD = re.compile(rb"^(Name|Version)[ \t]*:[ \t]*([^\r\n]*)", re.I | re.M)
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n|\r\r")
# Characters that distutils and setuptools replace in names, beyond today's rules.
_ODD = re.compile(r"[^A-Za-z0-9.]+")
_SEPARATORS = re.compile(r"[-_.+~ ]+")


class Identity(Struct, frozen=True):
    """The project and the file name that an archive should belong to."""

    filename: str
    project: str  #: a ProjectName

    def check_metadata(self, content: bytes, where: str) -> None:
        """Compare METADATA of the entry `where` with the file name, as installers read it.

        Raises `ArchiveError`: BAD_ARCHIVE if the fields are missing, WRONG_PROJECT if they name
        something else.
        """
        self._check_fields(fields(content), where)

    def check_pkg_info(self, content: bytes, where: str) -> None:
        """Compare PKG-INFO of the entry `where` with the file name; raises as `check_metadata`."""
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
        """Compare a name and a version with the file name; raises WRONG_PROJECT."""
        if not self.is_named(name):
            raise ArchiveError(
                f"names the project {shown(name)} in {shown(where)}", Reason.WRONG_PROJECT
            )
        if not self.has_version(version):
            raise ArchiveError(
                f"names the version {shown(version)} in {shown(where)}", Reason.WRONG_PROJECT
            )

    def is_named(self, name: str) -> bool:
        """Whether this is a spelling of the project's name."""
        return canonicalize_name(_ODD.sub("-", name)) == self.project

    def has_version(self, version: str) -> bool:
        """Whether a version equals that of the file name, or the file name has none."""
        text = version_text(self.filename, self.project)
        if text is None:
            return True
        stated = bounded.version(version)
        if stated is None:
            return _loose(version) == _loose(text)
        return stated == version_of(self.filename, self.project)


def _loose(version: str) -> str:
    return _SEPARATORS.sub("-", version).strip("-").lower()
