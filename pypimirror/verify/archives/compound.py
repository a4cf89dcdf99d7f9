"""Compound files (OLE2), of which .msi is one: a small file system within a file.

Lives here: the allocation table, the chains of sectors, the directory of streams. Does not live
here: cabinets, which are the streams that hold an installer's files (`cabinets`).

The rules: each sector that something points to is in the file, belongs to one chain only, and
each chain is as long as its stream. Free sectors may lie anywhere. Nothing has a checksum here.
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import BinaryIO

from pypimirror.domain.model import Reason
from pypimirror.verify.archives.cabinets import read_cabinet
from pypimirror.verify.archives.limits import ArchiveError, Meter

_HEADER = struct.Struct("<8s16x5H6x10L")
_END, _FAT, _DIFAT = 0xFFFFFFFE, 0xFFFFFFFD, 0xFFFFFFFC
_LAST = 0xFFFFFFFA  # the highest number that a sector can have
_MINI = 64  # bytes of a small sector
_STREAM, _ROOT = 2, 5
#: Sectors of 512 bytes in 8 GiB.
_MAX_SECTORS = 1 << 24


def read_compound(stream: BinaryIO, size: int, meter: Meter) -> list[str]:
    """Walk a compound file, and read the cabinets in it; return what could not be checked.

    Raises `ArchiveError`.
    """
    return _Compound(stream, size, meter).run()


class _Compound:
    """One compound file."""

    def __init__(self, stream: BinaryIO, size: int, meter: Meter) -> None:
        self._stream = stream
        self._meter = meter
        stream.seek(0)
        header = stream.read(512)
        if len(header) < 512:
            raise ArchiveError("is truncated in its header")
        fields = _HEADER.unpack_from(header)
        _, major, order, shift, mini_shift = fields[1:6]
        if (order, mini_shift) != (0xFFFE, 6) or (major, shift) not in ((3, 9), (4, 12)):
            raise ArchiveError("has a broken header")
        self.sector: int = 1 << shift  #: bytes
        if size % self.sector or size < 2 * self.sector:
            raise ArchiveError("is truncated, or has something behind its last sector")
        self._count = size // self.sector - 1
        if self._count > _MAX_SECTORS:
            raise ArchiveError("has too many sectors", Reason.TOO_LARGE)
        self._used = bytearray(self._count)
        tables, self._directory, _, self._cutoff = fields[7:11]
        self._mini_start, _, difat, difats = fields[11:15]
        self._fat = self._read_tables(header, tables, difat, difats)

    def run(self) -> list[str]:
        """Walk all chains."""
        directory = self._chain(self._directory, None, "the directory")
        mini = self._chain(self._mini_start, None, "the table of small sectors")
        for chain, what in ((directory, "a directory"), (mini, "a table of small sectors")):
            self._meter.held(len(chain) * self.sector, what, self._meter.limits.max_directory)
        mini_table = _numbers(b"".join(self._sectors(mini)))
        entries = self._entries(directory)
        if not entries or entries[0][0] != _ROOT:
            raise ArchiveError("has a directory without a root")
        root = self._chain(entries[0][1], entries[0][2], "the small sectors")
        mini_used = bytearray(min(len(mini_table), len(root) * self.sector // _MINI))
        unchecked: set[str] = set()
        for kind, start, size in entries[1:]:
            if kind != _STREAM:
                continue
            if size < self._cutoff:
                self._follow(start, size, _MINI, mini_table, mini_used, "a stream")
                self._meter.count(size)
                continue
            chain = self._chain(start, size, "a stream")
            unchecked.update(self._read(chain, size))
        return sorted(unchecked)

    def _read(self, chain: array[int], size: int) -> list[str]:
        """Read a stream: if it is a cabinet, as one."""
        source = _Sectors(self, chain, size)
        start = source.read(4)
        self._meter.count(len(start))
        if start == b"MSCF":
            return read_cabinet(source, size, self._meter)
        while data := source.read(1 << 18):
            self._meter.count(len(data))
        return []

    def read_run(self, first: int, count: int) -> bytes:
        """Read `count` sectors that lie side by side."""
        self._stream.seek((first + 1) * self.sector)
        data = self._stream.read(count * self.sector)
        if len(data) < count * self.sector:
            raise ArchiveError("is truncated")
        return data

    def _sectors(self, chain: array[int]) -> list[bytes]:
        return [self.read_run(number, 1) for number in chain]

    def _read_tables(self, header: bytes, tables: int, difat: int, difats: int) -> array[int]:
        """The allocation table; where its sectors are stands in the header and in a chain."""
        places = [number for number in struct.unpack("<109L", header[76:]) if number <= _LAST]
        per_sector = self.sector // 4 - 1
        for _ in range(difats):
            self._claim(difat)
            numbers = struct.unpack(f"<{per_sector + 1}L", self.read_run(difat, 1))
            places += [number for number in numbers[:per_sector] if number <= _LAST]
            difat = numbers[per_sector]
            if len(places) > self._count // 100 + 200:
                raise ArchiveError("has an allocation table that is larger than it can be")
        if len(places) != tables or not tables:
            raise ArchiveError("has an allocation table of another length than it says")
        table = array("I")
        for number in places:
            self._claim(number)
            table.extend(_numbers(self.read_run(number, 1)))
        if len(table) < self._count:
            raise ArchiveError("has sectors that its allocation table does not know")
        if any(table[number] != _FAT for number in places):
            raise ArchiveError("has an allocation table that does not know itself")
        return table

    def _claim(self, number: int) -> None:
        if number >= self._count:
            raise ArchiveError("is truncated, or points to a sector that it does not have")
        if self._used[number]:
            raise ArchiveError("uses one sector twice")
        self._used[number] = 1
        self._meter.tick()

    def _chain(self, start: int, size: int | None, what: str) -> array[int]:
        return self._follow(start, size, self.sector, self._fat, self._used, what)

    def _follow(
        self,
        number: int,
        size: int | None,
        sector: int,
        table: array[int],
        used: bytearray,
        what: str,
    ) -> array[int]:
        """The sectors of one chain, all of them now used."""
        chain = array("I")
        if not size and number > _LAST:
            return chain  # an empty stream
        while number != _END:
            if number >= len(used) or number >= len(table):
                raise ArchiveError(f"is truncated: {what} is in a sector that it does not have")
            if used[number]:
                raise ArchiveError(f"has {what} in a sector that is in use already")
            used[number] = 1
            chain.append(number)
            number = table[number]
        self._meter.tick()
        if size is not None and len(chain) != -(-size // sector):
            raise ArchiveError(f"has {what} of {size} bytes in {len(chain)} sectors of {sector}")
        return chain

    def _entries(self, directory: array[int]) -> list[tuple[int, int, int]]:
        """Kind, first sector and size of everything in the directory."""
        found = []
        for data in self._sectors(directory):
            for at in range(0, len(data), 128):
                kind = data[at + 66]
                start, low, high = struct.unpack_from("<LLL", data, at + 116)
                if kind:
                    self._meter.entry()
                    # Version 3 leaves the upper half undefined.
                    size = low if self.sector == 512 else low | high << 32
                    found.append((kind, start, size))
        return found


class _Sectors:
    """A chain of sectors as a source; sectors side by side are read at once."""

    def __init__(self, file: _Compound, chain: array[int], size: int) -> None:
        self._file = file
        self._chain = chain
        self._at = 0  # in the chain
        self._left = size
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; fewer only at the end."""
        parts, wanted = [], size
        while wanted:
            if not self._rest:
                self._rest = self._run()
                if not self._rest:
                    break
            part, self._rest = self._rest[:wanted], self._rest[wanted:]
            wanted -= len(part)
            parts.append(part)
        return b"".join(parts)

    def _run(self) -> bytes:
        """The next sectors that lie side by side; few enough to be held."""
        if self._at >= len(self._chain) or not self._left:
            return b""
        first, count = self._chain[self._at], 1
        most = min((1 << 16) // self._file.sector, len(self._chain) - self._at)
        while count < most and self._chain[self._at + count] == first + count:
            count += 1
        self._at += count
        data = self._file.read_run(first, count)[: self._left]
        self._left -= len(data)
        return data


def _numbers(data: bytes) -> array[int]:
    numbers = array("I", data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
