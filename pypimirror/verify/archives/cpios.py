"""Cpio archives in the "new" ASCII form, which is what an .rpm carries.

Lives here: one forward pass over unpacked bytes. There is no checksum but for the form "070702",
which rpm does not write.
"""

from __future__ import annotations

from collections.abc import Iterator

from pypimirror.verify.archives.entries import name_fault
from pypimirror.verify.archives.limits import ArchiveError, Meter, shown
from pypimirror.verify.archives.streams import Reader

_HEADER = 110  # bytes
_TRAILER = b"TRAILER!!!"


def walk_cpio(pieces: Iterator[bytes], meter: Meter) -> None:
    """Read a cpio archive to its end; only zeros may stand behind it. Raises `ArchiveError`."""
    reader = Reader(pieces)
    name = b""
    while name != _TRAILER:
        meter.entry()
        header = reader.read(_HEADER)
        if len(header) < _HEADER or header[:6] not in (b"070701", b"070702"):
            raise ArchiveError("is truncated, or has something else than entries in its cpio")
        try:
            fields = [int(header[at : at + 8], 16) for at in range(6, _HEADER, 8)]
        except ValueError:
            raise ArchiveError("has a cpio header without numbers") from None
        size, length = fields[6], fields[11]
        if not 1 < length <= 4096:
            raise ArchiveError("has a cpio entry with an impossible name")
        raw = _read(reader, length + -(_HEADER + length) % 4)[:length]
        name = raw.rstrip(b"\0")
        _check_name(name)
        _skip(reader, size + -size % 4, name)
    while piece := reader.read(1 << 16):
        if piece.count(0) != len(piece):
            raise ArchiveError("has something behind the end of its cpio")


def _check_name(name: bytes) -> None:
    # rpm puts "./" or "/" before the paths, which are those of a system.
    path = name.decode("utf-8", "surrogateescape").removeprefix(".").lstrip("/")
    if path and (fault := name_fault(path)):
        raise ArchiveError(f"has an entry {shown(name)} that {fault}")


def _read(reader: Reader, size: int) -> bytes:
    data = reader.read(size)
    if len(data) < size:
        raise ArchiveError("is truncated in its cpio")
    return data


def _skip(reader: Reader, size: int, name: bytes) -> None:
    left = size
    for piece in reader.pieces(size):
        left -= len(piece)
    if left:
        raise ArchiveError(f"is truncated in its cpio, in entry {shown(name)}")
