"""Cabinets: the archives in which an .msi carries its files.

Lives here: reading a cabinet forward, once. Each block of up to 32 KiB has a checksum; blocks of
the method MSZIP, which is deflate, are unpacked as well. LZX and Quantum are not.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from pypimirror.verify.archives.limits import ArchiveError, Meter
from pypimirror.verify.archives.streams import Source, broken

_HEADER = struct.Struct("<4xL4xL4x2xHHH4x")  # behind the four bytes of the signature
_FOLDER = struct.Struct("<LHH")
_FILE = struct.Struct("<LLHHHH")
_BLOCK = struct.Struct("<LHH")
_PREVIOUS, _NEXT, _RESERVED = 1, 2, 4
_NONE, _MSZIP = 0, 1
_MAX_NAME = 256 + 1

SEVERAL = "its cabinet goes on in another file"
METHOD = "its cabinet is packed by a method that cannot be unpacked here"
UNCHECKED = "blocks of its cabinet have no checksum"


@dataclass
class _Folder:
    start: int
    blocks: int
    method: int
    needed: int = 0  #: bytes that its files take


class _Input:
    """Counts what is read, and takes truncation for an error."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.at = 4

    def read(self, size: int) -> bytes:
        data = self._source.read(size)
        self.at += len(data)
        if len(data) < size:
            raise ArchiveError("has a truncated cabinet")
        return data

    def text(self) -> bytes:
        found = bytearray()
        while byte := self.read(1):
            if byte == b"\0":
                break
            found += byte
            if len(found) >= _MAX_NAME:
                raise ArchiveError("has a cabinet with an impossible name in it")
        return bytes(found)

    def skip_to(self, offset: int) -> None:
        if offset < self.at:
            raise ArchiveError("has a cabinet whose parts lie over each other")
        while self.at < offset:
            self.read(min(1 << 16, offset - self.at))


def read_cabinet(source: Source, size: int, meter: Meter) -> list[str]:
    """Read a cabinet of `size` bytes whose signature was read; return what was not checked.

    Raises `ArchiveError`.
    """
    data = _Input(source)
    fields = _HEADER.unpack(data.read(_HEADER.size))
    length, files_at, folder_count, file_count, flags = fields[:5]
    if length != size:
        raise ArchiveError(f"has a cabinet of {length} bytes in {size} bytes")
    reserved = (0, 0)
    if flags & _RESERVED:
        header, *reserved_sizes = struct.unpack("<HBB", data.read(4))
        reserved = (reserved_sizes[0], reserved_sizes[1])
        data.read(header)
    if flags & (_PREVIOUS | _NEXT):
        data.skip_to(size)
        return [SEVERAL]
    folders = []
    for _ in range(folder_count):
        folders.append(_Folder(*_FOLDER.unpack(data.read(_FOLDER.size))))
        data.read(reserved[0])
    data.skip_to(files_at)
    for _ in range(file_count):
        meter.entry()
        _file(data, folders)
    unchecked: set[str] = set()
    for folder in sorted(folders, key=lambda folder: folder.start):
        data.skip_to(folder.start)
        _read_folder(data, folder, reserved[1], meter, unchecked)
    if data.at != size:
        raise ArchiveError("has a cabinet with something behind its last block")
    return sorted(unchecked)


def _file(data: _Input, folders: list[_Folder]) -> None:
    size, offset, number, _, _, _ = _FILE.unpack(data.read(_FILE.size))
    name = data.text()
    if number >= len(folders) or not name:
        raise ArchiveError("has a cabinet with a file that is in no folder")
    folders[number].needed = max(folders[number].needed, offset + size)


def _read_folder(
    data: _Input, folder: _Folder, reserved: int, meter: Meter, unchecked: set[str]
) -> None:
    method = folder.method & 0xF
    total = 0
    window = b""
    for _ in range(folder.blocks):
        claimed, packed, size = _BLOCK.unpack(data.read(_BLOCK.size))
        extra = data.read(reserved)
        block = data.read(packed)
        if not claimed:
            unchecked.add(UNCHECKED)
        elif checksum(struct.pack("<HH", packed, size) + extra, checksum(block)) != claimed:
            raise ArchiveError("has a cabinet with a wrong checksum")
        if method == _MSZIP:
            window = _inflate(block, size, window)
        elif method != _NONE:
            unchecked.add(METHOD)
        elif packed != size:
            raise ArchiveError("has a cabinet with a block of another size than it says")
        meter.count(size)
        total += size
    if total < folder.needed:
        raise ArchiveError("has a cabinet with fewer blocks than its files need")


def _inflate(block: bytes, size: int, window: bytes) -> bytes:
    """Unpack one block; each may refer to the one before."""
    decoder = zlib.decompressobj(-15, zdict=window)
    try:
        found = decoder.decompress(block[2:], size + 1)
    except zlib.error as error:
        raise broken(error, "has a cabinet with a broken block") from error
    if block[:2] != b"CK" or not decoder.eof or decoder.unused_data or len(found) != size:
        raise ArchiveError("has a cabinet with a block of another size than it says")
    return found


def checksum(data: bytes, seed: int = 0) -> int:
    """The checksum of cabinets: its words of 32 bits, one upon the other."""
    whole = len(data) // 4
    value = int.from_bytes(data[: 4 * whole], "little")
    words = whole
    while words > 1:
        half = (words + 1) // 2
        value = (value >> 32 * half) ^ (value & ((1 << 32 * half) - 1))
        words = half
    # The bytes behind the last word are taken the other way round.
    return seed ^ value ^ int.from_bytes(data[4 * whole :], "big")
