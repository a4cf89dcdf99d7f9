"""Reads the requirements of an sdist without a build: from PKG-INFO and pyproject.toml."""

from __future__ import annotations

from collections.abc import Callable

from pypimirror.check import dependencies
from pypimirror.check.dependencies import Requirements
from pypimirror.system import regular
from pypimirror.verify.archives.entries import unpacked_path
from pypimirror.verify.archives.limits import ArchiveError, Limits, Meter
from pypimirror.verify.archives.streams import GZIP, Unpacked
from pypimirror.verify.archives.tars import Member, walk_tar
from pypimirror.verify.archives.zip_directory import Entry, read_directory
from pypimirror.verify.archives.zips import walk_zip

_LIMITS = Limits(max_metadata=4 << 20)
_NAMES = ("PKG-INFO", "pyproject.toml")


def read(path: str, root: str) -> Requirements:
    """Return the requirements of an sdist; unreadable ones are unknown, with the reason."""
    found: dict[str, bytearray] = {}

    def visit(name: str) -> Callable[[bytes], object] | None:
        _, _, rest = name.partition("/")
        if rest not in _NAMES:
            return None
        found[rest] = bytearray()  # the last entry of a name counts
        return lambda piece: _take(found[rest], piece)

    try:
        _walk(path, root, visit)
    except (ArchiveError, OSError) as error:
        return Requirements(unknown=f"cannot be read: {error}")
    pkg_info, pyproject = (found.get(name) for name in _NAMES)
    return dependencies.of_sdist(
        None if pkg_info is None else bytes(pkg_info),
        None if pyproject is None else bytes(pyproject),
    )


def _take(kept: bytearray, piece: bytes) -> None:
    kept.extend(piece)
    if len(kept) > _LIMITS.max_metadata:
        raise ArchiveError("has a PKG-INFO or a pyproject.toml that is too large")


def _walk(path: str, root: str, visit: Callable[[str], Callable[[bytes], object] | None]) -> None:
    with regular.stream(path, root) as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        meter = Meter(_LIMITS, size)
        if path.endswith(".zip"):

            def visit_entry(entry: Entry) -> Callable[[bytes], object] | None:
                return None if entry.is_directory else visit(unpacked_path(entry.name))

            walk_zip(stream, read_directory(stream, size, meter), meter, visit_entry)
            return

        def visit_member(member: Member) -> Callable[[bytes], object] | None:
            return visit(member.name) if member.is_file else None

        walk_tar(iter(Unpacked(stream, GZIP, meter)), meter, visit_member)
