"""Read the core metadata of a wheel right after its download, if the wheel is simple.

Nearly every wheel is simple: it has a small directory at its very end and one METADATA, stored or
deflated, besides those of vendored projects. Then no other process has to open the file again.
Verification workers read all other wheels, because there a file that takes memory or time harms no
other job. This module reads at most `TAIL` + `LARGEST` bytes, by offset, and unpacks at most
`LARGEST`. Its answer is that of `pypimirror.verify.wheels.core_metadata`, or None.
"""

from __future__ import annotations

import os
import struct
import zlib

TAIL = 64 << 10  #: bytes at the end of a wheel, in which its directory must lie
LARGEST = 1 << 20  #: bytes of METADATA, packed or not

_END = struct.Struct("<4s4H2LH")
_ENTRY = struct.Struct("<4s2xB1x2H4x3L3H8xL")  # of the directory: what matters here
_LOCAL = struct.Struct("<4s22x2H")
_SUFFIX = b".dist-info/METADATA"
_NEWEST = 45  # version of the format that is plain
_PLAIN = 0x800 | 0x8 | 0x6  # flags: a name in UTF-8, sizes behind the data, a degree of deflation


def simple_metadata(descriptor: int, size: int) -> bytes | None:
    """Return the METADATA of an open wheel of `size` bytes; None if the wheel is not simple.

    Raises `OSError`.
    """
    tail = os.pread(descriptor, min(size, TAIL), max(0, size - TAIL))
    try:
        found = _find(tail, size)
    except struct.error:
        return None
    if found is None:
        return None
    name, flags, method, crc, packed, length, offset, end = found
    begin = offset - (size - len(tail))  # where it is in the tail, if it is
    wanted = _LOCAL.size + len(name) + 0x100 + packed
    block = tail[begin : begin + wanted] if begin >= 0 else os.pread(descriptor, wanted, offset)
    if len(block) < _LOCAL.size:
        return None
    signature, name_length, extra_length = _LOCAL.unpack_from(block)
    start = _LOCAL.size + name_length + extra_length
    data = block[start : start + packed]
    if (
        signature != b"PK\3\4"
        or block[_LOCAL.size : _LOCAL.size + name_length] != name
        or len(data) != packed
        or offset + start + packed > end
        or flags & ~_PLAIN
    ):
        return None
    content = _unpacked(data, method, length)
    return content if content is not None and zlib.crc32(content) == crc else None


def _find(tail: bytes, size: int) -> tuple[bytes, int, int, int, int, int, int, int] | None:
    """Return the entry of the only METADATA, and the offset of what follows it."""
    at = len(tail) - _END.size
    if at < 0:
        return None
    signature, disk, first, here, entries, directory, offset, comment = _END.unpack_from(tail, at)
    start = at - directory
    is_plain = signature == b"PK\5\6" and not (disk or first or comment) and here == entries
    if not is_plain or start < 0 or offset + directory != size - _END.size:
        return None
    # A locator of zip64 before the end record would name another directory.
    if tail.startswith(b"PK\6\7", at - 20):
        return None
    found = None
    offsets = [offset]
    place = start
    for _ in range(entries):
        entry = _ENTRY.unpack_from(tail, place)
        mark, version, flags, method, crc, packed, length, named, extra, noted, where = entry
        name = tail[place + _ENTRY.size : place + _ENTRY.size + named]
        if mark != b"PK\1\2" or extra or version > _NEWEST or not name.isascii():
            return None
        if b"\0" in name:  # others see only what is before it
            return None
        offsets.append(where)
        # Projects that a wheel vendors have theirs in deeper directories.
        if name.endswith(_SUFFIX) and name.count(b"/") == 1:
            if found is not None:
                return None
            found = name, flags, method, crc, packed, length, where
        place += _ENTRY.size + named + noted
    if found is None or place != at:
        return None
    name, flags, method, crc, packed, length, where = found
    if name == _SUFFIX or packed > LARGEST or length > LARGEST or where >= offset:
        return None
    end = min(other for other in offsets if other > where)
    return name, flags, method, crc, packed, length, where, end


def _unpacked(data: bytes, method: int, length: int) -> bytes | None:
    if method == 0:
        return data if len(data) == length else None
    if method != 8:
        return None
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = inflate.decompress(data, length + 1)
    except zlib.error:
        return None
    return content if inflate.eof and len(content) == length else None
