"""Read the requirements of a file that is here: a wheel or an sdist that was proven before.

It uses the readers of the proof. So everything that is read has a bound, and a name in an archive
has the same meaning as in the proof.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from pypimirror.domain.formats import NONE, Format, format_of
from pypimirror.domain.metadata import dependencies
from pypimirror.domain.metadata.requirements import Requirements
from pypimirror.system import regular
from pypimirror.verify.archives.entries import unpacked_path
from pypimirror.verify.archives.limits import ArchiveError, Limits, Meter
from pypimirror.verify.archives.streams import KINDS, Unpacked, pieces_of
from pypimirror.verify.archives.tars import Member, walk_tar
from pypimirror.verify.archives.zip_directory import ZipEntry, read_directory
from pypimirror.verify.archives.zips import walk_zip
from pypimirror.verify.wheels.core_metadata import read_metadata

#: Bytes of the largest PKG-INFO and pyproject.toml that are read.
_MOST = 4 << 20
_WANTED = re.compile(r"(?:[^/]+/)?(PKG-INFO|pyproject\.toml)")
_KINDS = {kind.compression: kind for kind in KINDS}


def read_requirements(path: Path, filename: str) -> Requirements:
    """Return the requirements of the file at `path`. Raises `OSError`."""
    form = format_of(filename)
    if form is not None and form.type == "wheel":
        metadata = read_metadata(path)
        if metadata is None:
            return Requirements(unknown="has no METADATA that can be read")
        return dependencies.of_wheel(metadata)
    if form is None or form.container not in ("tar", "zip"):
        return Requirements(unknown="is in no format that can be read")
    contents = _Contents()
    with regular.stream(str(path)) as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        try:
            walk(stream, size, form, contents.visit, Meter(Limits(), size))
        except ArchiveError as error:
            return Requirements(unknown=error.message)
    return dependencies.of_sdist(contents.of("PKG-INFO"), contents.of("pyproject.toml"))


class _Contents:
    """Keeps the contents of two files, if they are at the top or in the one directory there."""

    def __init__(self) -> None:
        self._found: dict[str, list[bytes]] = {}
        self._at_top: set[str] = set()

    def visit(self, path: str) -> Callable[[bytes], object] | None:
        """Note an entry; return a function that takes its contents, or None."""
        found = _WANTED.fullmatch(path)
        # As in the proof: if there are several, the one at the very top counts, else the last.
        if found is None or (path != found[1] and found[1] in self._at_top):
            return None
        name = found[1]
        if path == name:
            self._at_top.add(name)
        parts = self._found[name] = []
        held = 0

        def take(piece: bytes) -> None:
            nonlocal held
            held += len(piece)
            if held > _MOST:
                raise ArchiveError(f"has a {name} of more than {_MOST} bytes")
            parts.append(piece)

        return take

    def of(self, name: str) -> bytes | None:
        """Return the contents of a file; None if there is none."""
        return b"".join(self._found[name]) if name in self._found else None


Visit = Callable[[str], Callable[[bytes], object] | None]


def walk(stream: BinaryIO, size: int, form: Format, visit_path: Visit, meter: Meter) -> None:
    """Call `visit_path` with the path of each file; what it returns takes the contents.

    Raises `ArchiveError`.
    """
    if form.container == "zip":
        directory = read_directory(stream, size, meter)

        def visit(entry: ZipEntry) -> Callable[[bytes], object] | None:
            take = visit_path(unpacked_path(entry.name))
            return None if entry.is_directory else take

        walk_zip(stream, directory, meter, visit)
        return

    def visit_member(member: Member) -> Callable[[bytes], object] | None:
        take = visit_path(member.name)
        return take if member.is_file else None

    kind = _KINDS.get(form.compression)
    if kind is None and form.compression != NONE:
        raise ArchiveError("is packed in a way that cannot be read")
    pieces = pieces_of(stream, meter) if kind is None else iter(Unpacked(stream, kind, meter))
    walk_tar(pieces, meter, visit_member)
