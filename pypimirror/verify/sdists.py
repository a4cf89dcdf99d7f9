"""Checks of sdists and eggs: the top directory, and what PKG-INFO says.

This module knows nothing of tar, zip and compression.

An sdist has one directory at its top. Some sdists have none: PKG-INFO and everything else is at the
top. pip and uv build these as well.

PKG-INFO came with Python 2.1, and only distutils and its successors write one. An archive without
it can be read to its end, but does not name its project: `unchecked` says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from pypimirror.domain.model import Reason
from pypimirror.verify.archives.entries import unpacked_path
from pypimirror.verify.archives.findings import Findings
from pypimirror.verify.archives.limits import ArchiveError, Meter
from pypimirror.verify.archives.streams import Kind, Unpacked, pieces_of
from pypimirror.verify.archives.tars import Member, walk_tar
from pypimirror.verify.archives.zip_directory import ZipEntry, read_directory
from pypimirror.verify.archives.zips import walk_zip
from pypimirror.verify.identity import Identity

NO_IDENTITY = "nothing in it names its project and its version"
NO_CHECKSUM = "its contents have no checksum, so that changed bytes would go unseen"

_PKG_INFO = "PKG-INFO"

#: Bytes that may stand in front of an egg: a script that runs it.
_MAX_SCRIPT = 64 << 10


class Contents:
    """Collects what matters from the entries of an archive while it is read."""

    def __init__(self, most: int, *, egg: bool = False) -> None:
        self._most = most
        self._egg = egg
        self._parts: list[bytes] = []
        self._size = 0
        self.tops: set[str] = set()
        self.where = ""  #: the entry that is PKG-INFO

    def visit(self, path: str) -> Callable[[bytes], object] | None:
        """Note an entry; return a function that takes its contents, or None."""
        top, _, rest = path.partition("/")
        # macOS keeps notes on a file in another file beside it.
        if top not in (".", "__MACOSX") and not top.startswith("._") and len(self.tops) < 3:
            self.tops.add(top)
        wanted = path == "EGG-INFO/PKG-INFO" if self._egg else _PKG_INFO in (rest, path)
        if not wanted or (self.where == _PKG_INFO != path):
            return None
        self.where = path
        self._parts, self._size = [], 0  # the last entry of a name counts
        return self._take

    def _take(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._most:
            raise ArchiveError(f"has a PKG-INFO of more than {self._most} bytes", Reason.TOO_LARGE)
        self._parts.append(piece)

    def check(self, identity: Identity, findings: Findings) -> None:
        """Compare PKG-INFO with the file name."""
        if not self.tops:
            raise ArchiveError("is an archive without entries")
        if not self.where:
            findings.unchecked.append(NO_IDENTITY)
            return
        identity.check_pkg_info(b"".join(self._parts), self.where)
        if not self._egg and self.where != _PKG_INFO and len(self.tops) > 1:
            findings.contradiction("has several directories at its top, but an sdist has one")


def check_tar(
    stream: BinaryIO, kind: Kind | None, identity: Identity, meter: Meter, findings: Findings
) -> None:
    """Read a tar, compressed by `kind`, to its end."""
    contents = Contents(meter.limits.max_metadata)

    def visit(member: Member) -> Callable[[bytes], object] | None:
        take = contents.visit(member.name)
        return take if member.is_file else None

    unpacked = None if kind is None else Unpacked(stream, kind, meter)
    pieces = pieces_of(stream, meter) if unpacked is None else iter(unpacked)
    walk_tar(pieces, meter, visit)
    contents.check(identity, findings)
    if unpacked is None or not unpacked.checked:
        findings.unchecked.append(NO_CHECKSUM)


def check_zip(
    stream: BinaryIO, size: int, identity: Identity, meter: Meter, findings: Findings
) -> None:
    """Read a zip to its end."""
    contents = Contents(meter.limits.max_metadata)
    _walk_zip(stream, size, meter, contents, 0)
    contents.check(identity, findings)


def check_egg(
    stream: BinaryIO, size: int, identity: Identity, meter: Meter, findings: Findings
) -> None:
    """Read an egg to its end.

    Setuptools also made eggs that are shell scripts, with the zip after the script.
    """
    most = _MAX_SCRIPT if stream.read(2) == b"#!" else 0
    contents = Contents(meter.limits.max_metadata, egg=True)
    _walk_zip(stream, size, meter, contents, most)
    contents.check(identity, findings)


def _walk_zip(stream: BinaryIO, size: int, meter: Meter, contents: Contents, most: int) -> None:
    directory = read_directory(stream, size, meter)
    prefix = min(directory.entries[0].offset, most)

    def visit(entry: ZipEntry) -> Callable[[bytes], object] | None:
        take = contents.visit(unpacked_path(entry.name))
        return None if entry.is_directory else take

    walk_zip(stream, directory, meter, visit, prefix=prefix)
