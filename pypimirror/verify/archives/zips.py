"""Zip archives: reading every entry to its end, and every byte between them.

This module reads local headers, contents and data descriptors. `zip_directory` reads the directory;
`wheels` and `sdists` know what the entries mean.

It does not use `zipfile`, which sees only what the directory names, has no bounds, and takes half
as long again.

The rules:

* Each local header agrees with the directory.
* The entries fill the file in their order, without overlaps and without gaps, up to the directory.
  Something may come before the first entry only if the caller allows it.
* Each entry unpacks to the claimed size and CRC-32, and uses all of its packed bytes.
* Python can unpack the method. uv knows neither bzip2 nor lzma, and pip knows zstd only from Python
  3.14 on. A wheel passes if one of the two can unpack it.
* A directory has no contents. If it has no bytes, its method does not matter: some tools mark it as
  deflated and leave out the two bytes of an empty stream, and nobody reads them.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable
from enum import IntEnum
from typing import BinaryIO

from pypimirror.domain.model import Reason
from pypimirror.verify.archives.limits import ArchiveError, Meter, shown
from pypimirror.verify.archives.streams import (
    BROKEN,
    READ,
    WRITE,
    ZSTD,
    Decoder,
    Inflate,
    Slice,
    broken,
)
from pypimirror.verify.archives.zip_directory import CentralDirectory, ZipEntry, read_extra, wide

_LOCAL = struct.Struct("<4s5H3L2H")
_DESCRIBED = 0x8  # the sizes and the CRC stand behind the contents
_LZMA_MARKED = 0x2  # the LZMA stream has a mark of its end


class Method(IntEnum):
    """How an entry is packed."""

    STORED = 0
    DEFLATED = 8
    BZIP2 = 12
    LZMA = 14
    ZSTD = 93


#: Called with each entry. It returns a function that takes the contents in pieces, or None.
Visitor = Callable[[ZipEntry], Callable[[bytes], object] | None]


def walk_zip(
    stream: BinaryIO, directory: CentralDirectory, meter: Meter, visit: Visitor, *, prefix: int = 0
) -> None:
    """Read the entries of a zip archive, and show each to `visit`, in the order of the file.

    The first entry must start at `prefix`. Raises `ArchiveError` for what breaks the rules above.
    """
    stream.seek(prefix)
    ends = [entry.offset for entry in directory.entries[1:]] + [directory.start]
    if directory.entries[0].offset != prefix:
        raise ArchiveError("has something in front of its zip")
    for entry, end in zip(directory.entries, ends, strict=True):
        meter.tick()
        length = _local_header(stream, entry)
        rest = end - entry.offset - length - entry.packed
        if rest < 0:
            raise ArchiveError(f"has an entry {shown(entry.name)} that reaches into the next one")
        _contents(stream, entry, meter, visit(entry))
        if rest:
            _descriptor(stream, entry, rest)


def read_entry(stream: BinaryIO, entry: ZipEntry, meter: Meter, most: int) -> bytes:
    """Read one entry ahead of the others."""
    meter.held(entry.size, f"an entry {shown(entry.name)}", most)
    stream.seek(entry.offset)
    _local_header(stream, entry)
    parts: list[bytes] = []
    unpacked = meter.unpacked
    _contents(stream, entry, meter, parts.append)
    meter.unpacked = unpacked  # counted when the entry is read in its turn
    return b"".join(parts)


def _local_header(stream: BinaryIO, entry: ZipEntry) -> int:
    """Read a local header and compare it with the directory; return its length."""
    header = stream.read(_LOCAL.size)
    if len(header) < _LOCAL.size or header[:4] != b"PK\3\4":
        raise ArchiveError(f"has no header where the entry {shown(entry.name)} should start")
    flags, method, time, date, crc, packed, size, name_length, extra_length = _LOCAL.unpack(header)[
        2:
    ]
    name = stream.read(name_length)
    extra = stream.read(extra_length)
    fields = read_extra(extra, entry.name) if extra else {}
    if 1 in fields:
        size, packed = wide(fields, entry.name, (size, packed))
    claims = (crc, packed, size)
    truth = (entry.crc, entry.packed, entry.size)
    if flags & _DESCRIBED:
        # Zero means "see the descriptor after the contents".
        claims_agree = all(a in (0, b) for a, b in zip(claims, truth, strict=True))
    else:
        claims_agree = claims == truth
    if (
        name != entry.raw_name
        or not claims_agree
        or (flags, method, (time, date)) != (entry.flags, entry.method, entry.moment)
    ):
        raise ArchiveError(
            f"has an entry {shown(entry.name)} whose header contradicts the directory"
        )
    return _LOCAL.size + len(name) + len(extra)


def _contents(
    stream: BinaryIO, entry: ZipEntry, meter: Meter, take: Callable[[bytes], object] | None
) -> None:
    """Unpack the contents of an entry; the stream stands at their beginning."""
    if entry.is_directory and not entry.packed:
        crc = size = 0
    elif entry.method == Method.DEFLATED and entry.packed <= READ and entry.size <= WRITE:
        crc, size = _at_once(stream.read(entry.packed), entry, meter, take)
    elif entry.method == Method.STORED:
        crc, size = _stored(stream, entry, meter, take)
    else:
        crc, size = _unpack(stream, entry, meter, take)
    if size != entry.size:
        raise ArchiveError(f"has an entry {shown(entry.name)} with another size than it says")
    if crc != entry.crc:
        raise ArchiveError(f"has an entry {shown(entry.name)} with a wrong CRC")


def _at_once(
    packed: bytes, entry: ZipEntry, meter: Meter, take: Callable[[bytes], object] | None
) -> tuple[int, int]:
    """Unpack a small, deflated entry in one step, as most entries are."""
    decoder = zlib.decompressobj(-15)
    try:
        data = decoder.decompress(packed, entry.size + 1)
    except zlib.error as error:
        raise broken(error, f"has a broken entry {shown(entry.name)}") from error
    meter.count(len(data))
    if len(data) > entry.size:
        raise _more(entry)
    if not decoder.eof or decoder.unused_data or len(packed) != entry.packed:
        raise _unfinished(entry)
    if take is not None:
        take(data)
    return zlib.crc32(data), len(data)


def _stored(
    stream: BinaryIO, entry: ZipEntry, meter: Meter, take: Callable[[bytes], object] | None
) -> tuple[int, int]:
    if entry.packed != entry.size:
        raise ArchiveError(f"has an entry {shown(entry.name)} with another size than it says")
    crc, left = 0, entry.size
    while left:
        data = stream.read(min(left, WRITE))
        if not data:
            raise _unfinished(entry)
        left -= len(data)
        meter.count(len(data))
        crc = zlib.crc32(data, crc)
        if take is not None:
            take(data)
    return crc, entry.size


def _unpack(
    stream: BinaryIO, entry: ZipEntry, meter: Meter, take: Callable[[bytes], object] | None
) -> tuple[int, int]:
    source = Slice(stream, entry.packed)
    decoder, has_end = _decoder(source, entry, meter)
    crc = size = 0
    data = b""
    while not decoder.eof:
        if decoder.needs_input and not (data := source.read(READ)):
            break
        try:
            piece = decoder.decompress(data, min(WRITE, entry.size - size + 1))
        except BROKEN as error:
            raise broken(error, f"has a broken entry {shown(entry.name)}") from error
        data = b""
        size += len(piece)
        meter.count(len(piece))
        if size > entry.size:
            raise _more(entry)
        crc = zlib.crc32(piece, crc)
        if take is not None:
            take(piece)
    if (has_end and not decoder.eof) or source.left or decoder.unused_data:
        raise _unfinished(entry)
    return crc, size


def _decoder(source: Slice, entry: ZipEntry, meter: Meter) -> tuple[Decoder, bool]:
    """Return what unpacks an entry, and whether its stream marks its own end."""
    match entry.method:
        case Method.DEFLATED:
            return Inflate(-15), True
        case Method.BZIP2:
            return bz2.BZ2Decompressor(), True
        case Method.LZMA:
            return _lzma_decoder(source, entry, meter), bool(entry.flags & _LZMA_MARKED)
        case Method.ZSTD:
            return ZSTD.make(meter), True
        case _:
            raise ArchiveError(
                f"has an entry {shown(entry.name)} that is packed by method {entry.method},"
                " which Python cannot unpack"
            )


def _lzma_decoder(source: Slice, entry: ZipEntry, meter: Meter) -> Decoder:
    """Return a decoder for LZMA in a zip: zip's own header, then the bare stream."""
    header = source.read(9)
    properties = header[4] if len(header) == 9 else 255
    if properties >= 9 * 5 * 5 or header[2:4] != b"\5\0":
        raise ArchiveError(f"has an entry {shown(entry.name)} with a broken LZMA header")
    window = int.from_bytes(header[5:9], "little")
    if window > meter.limits.max_window:
        raise ArchiveError(
            f"has an entry {shown(entry.name)} that needs {window} bytes of memory to unpack",
            Reason.TOO_LARGE,
        )
    rest, literal = divmod(properties, 9)
    bits, position = divmod(rest, 5)
    options = {
        "id": lzma.FILTER_LZMA1,
        "dict_size": max(window, 4096),
        "lc": literal,
        "lp": position,
        "pb": bits,
    }
    try:
        return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[options])
    except BROKEN as error:
        raise broken(error, f"has a broken entry {shown(entry.name)}") from error


def _descriptor(stream: BinaryIO, entry: ZipEntry, rest: int) -> None:
    """Read the data descriptor after the contents, in one of its four forms."""
    if not entry.flags & _DESCRIBED or rest > 24:
        raise ArchiveError(f"has something unaccounted for behind the entry {shown(entry.name)}")
    found = stream.read(rest)
    if rest in (16, 24):
        signature, found = found[:4], found[4:]
    else:
        signature = b"PK\7\x08"
    form = {12: "<LLL", 20: "<LQQ"}.get(len(found))
    truth = (entry.crc, entry.packed, entry.size)
    if form is None or signature != b"PK\7\x08" or struct.unpack(form, found) != truth:
        raise ArchiveError(f"has an entry {shown(entry.name)} with a broken data descriptor")


def _more(entry: ZipEntry) -> ArchiveError:
    return ArchiveError(f"has an entry {shown(entry.name)} that unpacks to more than it says")


def _unfinished(entry: ZipEntry) -> ArchiveError:
    return ArchiveError(
        f"has an entry {shown(entry.name)} whose packed bytes do not end where they should"
    )
