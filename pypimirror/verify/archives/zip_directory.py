"""The directory of a zip archive: finding it, and reading what it says.

This module reads the end records (also of zip64), the central directory, and extra fields. `zips`
reads the entries themselves.

There must be only one way to read an archive, or two tools see two different archives in it. So the
end record is the last thing in the file, the directory comes right before it, and the records of
zip64 agree with those that they extend. PyPI and uv demand the same.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from msgspec import Struct

from pypimirror.verify.archives.entries import name_fault, unpacked_path
from pypimirror.verify.archives.limits import ArchiveError, Meter, shown

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_EXTRA = struct.Struct("<HH")

#: In a field of 16 or 32 bits, this means that the number is in a record of zip64.
_IN_64 = (0xFFFF, 0xFFFFFFFF)

# Encryption of three kinds, and patches to other archives.
_UNREADABLE = 0x1 | 0x40 | 0x2000 | 0x20
_UTF8 = 0x800
#: Version 6.3 of the specification, the last that `zipfile` takes.
_NEWEST = 63

_READ = 1 << 18


class ZipEntry(Struct):
    """The facts on an entry in the central directory."""

    raw_name: bytes
    name: str
    flags: int
    method: int
    moment: tuple[int, int]  #: time and date, as they are encoded
    crc: int
    packed: int  #: bytes
    size: int  #: bytes, unpacked
    offset: int  #: of the local header, in the file

    @property
    def is_directory(self) -> bool:
        """Whether this entry only makes a directory."""
        return self.name.endswith("/")


class CentralDirectory(Struct, frozen=True):
    """A whole central directory: one entry or more, in the order of the file."""

    entries: list[ZipEntry]
    start: int  #: offset of the directory, in the file


class _End(Struct, frozen=True):
    """The facts in the end records."""

    position: int  #: of the first of them, in the file
    entries: int
    size: int
    offset: int


def read_directory(stream: BinaryIO, size: int, meter: Meter) -> CentralDirectory:
    """Read the directory of a zip archive that ends where the file of `size` bytes ends.

    Raises `ArchiveError` if the directory, or an entry in it, breaks a rule.
    """
    end = _read_end(stream, size)
    start = end.position - end.size
    shift = start - end.offset  # bytes in front of the archive that its offsets do not count
    if start < 0 or shift < 0:
        raise ArchiveError("has a zip directory that is not where the end record says")
    if end.entries > meter.limits.max_entries:
        meter.entries = meter.limits.max_entries
        meter.entry()
    meter.held(end.size, "a zip directory", meter.limits.max_directory)
    entries: list[ZipEntry] = []
    names: set[str] = set()
    total = 0
    stream.seek(start)
    for entry in _entries(stream, end, meter):
        path = unpacked_path(entry.name)
        if path in names:
            raise ArchiveError(f"has two entries {shown(path)}")
        names.add(path)
        entry.offset += shift
        if entry.offset >= start:
            raise ArchiveError(f"has an entry {shown(entry.name)} behind the directory of its zip")
        total += entry.size
        entries.append(entry)
    if not entries:
        raise ArchiveError("is an archive without entries")
    meter.announced(total)
    entries.sort(key=_offset)
    return CentralDirectory(entries, start)


def _offset(entry: ZipEntry) -> int:
    return entry.offset


def _read_end(stream: BinaryIO, size: int) -> _End:
    length = min(size, _END.size + 0xFFFF)
    stream.seek(size - length)
    tail = stream.read(length)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + _END.size > length:
        raise ArchiveError("is truncated, or no zip: it has no end record")
    _, disk, first_disk, here, entries, directory, offset, comment = _END.unpack_from(tail, at)
    behind = length - at - _END.size
    if comment != behind:
        fault = "is truncated in" if comment > behind else "has something behind"
        raise ArchiveError(f"{fault} the end record of its zip")
    position = size - length + at
    end = _End(position, entries, directory, offset)
    end = _read_end64(stream, end) or end
    if (disk, first_disk, here) not in ((0, 0, entries), (0xFFFF, 0xFFFF, entries)):
        raise ArchiveError("is one part of a zip in several parts")
    return end


def _read_end64(stream: BinaryIO, end: _End) -> _End | None:
    """Read the records of zip64 in front of the end record; None if there are none."""
    where = end.position - _LOCATOR.size - _END64.size
    if where < 0:
        return None
    stream.seek(where)
    block = stream.read(_END64.size + _LOCATOR.size)
    signature, disk, offset, disks = _LOCATOR.unpack_from(block, _END64.size)
    if signature != b"PK\6\7":
        return None
    found = _END64.unpack_from(block)
    if found[0] != b"PK\6\6" or found[1] != _END64.size - 12:
        raise ArchiveError("has a zip64 end record that is broken, or not in its place")
    disk_here, disk_first, here, entries, directory, start = found[4:]
    shift = where - directory - start
    if (disk, disk_here, disk_first) != (0, 0, 0) or disks > 1 or here != entries:
        raise ArchiveError("is one part of a zip in several parts")
    if shift < 0 or offset + shift != where:
        raise ArchiveError("has zip64 end records that do not find each other")
    for short, long in (
        (end.entries, entries),
        (end.size, directory),
        (end.offset, start),
    ):
        if short not in (long, *_IN_64):
            raise ArchiveError("has zip end records that contradict each other")
    return _End(where, entries, directory, start)


def _entries(stream: BinaryIO, end: _End, meter: Meter) -> Iterator[ZipEntry]:
    """Read `end.entries` entries that fill `end.size` bytes."""
    block, at, left = b"", 0, end.size
    most = _CENTRAL.size + 3 * 0xFFFF
    for _ in range(end.entries):
        if len(block) - at < most and left:
            piece = stream.read(min(left, _READ))
            left -= len(piece)
            block, at = block[at:] + piece, 0
            if not piece:
                raise ArchiveError("is truncated in its zip directory")
        meter.entry()
        entry, at = _entry(block, at)
        yield entry
    if left or at != len(block):
        raise ArchiveError("has a zip directory that is longer than its entries")


def _entry(block: bytes, at: int) -> tuple[ZipEntry, int]:
    if len(block) - at < _CENTRAL.size:
        raise ArchiveError("has a zip directory that is shorter than its entries")
    found = _CENTRAL.unpack_from(block, at)
    if found[0] != b"PK\1\2":
        raise ArchiveError("has a zip directory with something else than entries in it")
    version, flags, method, time, date, crc, packed, size, name_length, extra_length = found[2:12]
    name_end = at + _CENTRAL.size + name_length
    extra_end = name_end + extra_length
    end = extra_end + found[12]
    if end > len(block):
        raise ArchiveError("has a zip directory that is shorter than its entries")
    raw_name = block[at + _CENTRAL.size : name_end]
    offset = found[16]
    name = _decoded(raw_name, flags)
    if extra_length:
        extra = read_extra(block[name_end:extra_end], name)
        _check_unicode_name(extra, name)
        if 0xFFFFFFFF in (size, packed, offset):
            size, packed, offset = wide(extra, name, (size, packed, offset))
    if found[13] not in (0, 0xFFFF):
        raise ArchiveError("is one part of a zip in several parts")
    if version & 0xFF > _NEWEST:
        raise ArchiveError(f"has an entry {shown(name)} for a newer zip than Python can unpack")
    entry = ZipEntry(raw_name, name, flags, method, (time, date), crc, packed, size, offset)
    _check(entry)
    return entry, end


def _decoded(raw_name: bytes, flags: int) -> str:
    if raw_name.isascii():
        return raw_name.decode("ascii")
    try:
        return raw_name.decode("utf-8" if flags & _UTF8 else "cp437")
    except UnicodeDecodeError:
        raise ArchiveError(f"has an entry {shown(raw_name)} whose name is not UTF-8") from None


def _check(entry: ZipEntry) -> None:
    """Check the rules that need the directory only."""
    fault = name_fault(entry.name)
    if fault is None and "\\" in entry.name:
        fault = "has a backslash in its name"
    if fault is None and entry.flags & _UNREADABLE:
        fault = "is encrypted"
    if fault is None and entry.is_directory and entry.size:
        fault = "is a directory, yet has contents"
    if fault is not None:
        raise ArchiveError(f"has an entry {shown(entry.name)} that {fault}")


def read_extra(extra: bytes, name: str) -> dict[int, bytes]:
    """Extra fields by their number; the first of each counts.

    Up to three bytes at the end may be padding, as `zipfile` has it too.
    """
    fields: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(extra):
        number, length = _EXTRA.unpack_from(extra, at)
        at += 4
        if at + length > len(extra):
            raise ArchiveError(f"has an entry {shown(name)} with a broken extra field")
        fields.setdefault(number, extra[at : at + length])
        at += length
    return fields


def wide(extra: dict[int, bytes], name: str, values: tuple[int, ...]) -> tuple[int, ...]:
    """Return the numbers, with those that do not fit 32 bits read from the zip64 field."""
    field = extra.get(1, b"")
    found = []
    for value in values:
        if value == 0xFFFFFFFF:
            if len(field) < 8:
                raise ArchiveError(f"has an entry {shown(name)} without its zip64 field")
            value, field = int.from_bytes(field[:8], "little"), field[8:]
        found.append(value)
    return tuple(found)


def _check_unicode_name(extra: dict[int, bytes], name: str) -> None:
    """Check Info-ZIP's second name, in UTF-8: some tools unpack under that name."""
    field = extra.get(0x7075)
    if field is None:
        return
    try:
        second = field[5:].decode("utf-8")
    except UnicodeDecodeError:
        second = "\0"
    if (fault := name_fault(second)) or "\\" in second:
        fault = fault or "has a backslash in it"
        raise ArchiveError(f"has an entry {shown(name)} whose name in Unicode {fault}")
