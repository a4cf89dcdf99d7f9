"""Compressed streams: unpacking them to their end in buffers of fixed size.

This module reads gzip, bzip2, xz, zstd and the old lzma, as whole files and as parts of other
archives. It does not know what they contain.

The same rules hold for all of them:

* A stream says where it ends. A stream without its end is truncated.
* Another stream of the same format may follow; pigz, pbzip2 and the standards do this.
* Zeros may follow where all tools ignore them, because tar of macOS and FreeBSD pads what it writes
  to a pipe. After gzip and bzip2, zeros end the file: GNU tar and Python's bz2 ignore all that
  comes later. Between streams of xz, groups of four zeros are padding, as its specification says.
* Nothing else may follow.
* The C library makes the checks of the format itself (CRC-32, CRC-64, SHA-256, xxHash).
* A reader reports whether the format had such a check: without one, nobody notices a changed byte.
"""

from __future__ import annotations

import bz2
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from pypimirror.domain import formats
from pypimirror.domain.formats import Compression
from pypimirror.domain.model import Reason
from pypimirror.verify.archives.limits import ArchiveError, Meter

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: Bytes that one step reads, and most bytes that it unpacks.
READ, WRITE = 1 << 17, 1 << 18

#: Errors that the C libraries raise for bytes that they cannot read.
BROKEN = (zlib.error, lzma.LZMAError, zstd.ZstdError, OSError, EOFError, ValueError)


class Source(Protocol):
    """Anything that gives bytes."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; fewer only at the end."""


class Decoder(Protocol):
    """Unpacks one stream. The interface is that of `bz2.BZ2Decompressor`."""

    @property
    def eof(self) -> bool:
        """Whether the end of the stream was read."""

    @property
    def needs_input(self) -> bool:
        """Whether more can be unpacked only from more input."""

    @property
    def unused_data(self) -> bytes:
        """Bytes that were read beyond the end of the stream."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Unpack at most `max_length` bytes."""


class Inflate:
    """zlib's decoder with the interface of the others."""

    def __init__(self, window: int) -> None:
        self._decoder = zlib.decompressobj(window)
        self._full = False

    @property
    def eof(self) -> bool:
        """Whether the end of the stream was read."""
        return self._decoder.eof

    @property
    def needs_input(self) -> bool:
        """Whether more can be unpacked only from more input."""
        # zlib may hold back output although it has taken all input.
        return not self._full and not self._decoder.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        """What was read behind the end of the stream."""
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Unpack at most `max_length` bytes."""
        tail = self._decoder.unconsumed_tail
        result = self._decoder.decompress(tail + data if tail else data, max_length)
        self._full = len(result) == max_length
        return result


class Kind:
    """The reader of one compression."""

    def __init__(
        self,
        compression: Compression,
        make: Callable[[Meter], Decoder],
        *,
        padding: int = 0,
        between: bool = False,
        checked: bool = True,
    ) -> None:
        self.compression = compression
        self.name = compression.name
        self.magics = compression.starts
        self.make = make
        self.padding = padding  #: zeros may follow, in groups of this size; 0: none may
        self.between = between  #: another stream may follow the zeros
        self.checked = checked  #: its streams can have a check of their contents

    def starts(self, data: bytes) -> bool:
        """Whether a stream of this kind may start with `data`."""
        return not self.magics or data.startswith(self.magics)


def _zstd(meter: Meter) -> Decoder:
    window = meter.limits.max_window.bit_length() - 1
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: min(max(window, 10), 31)}
    return zstd.ZstdDecompressor(options=options)


def _lzma(form: int) -> Callable[[Meter], Decoder]:
    return lambda meter: lzma.LZMADecompressor(form, memlimit=meter.limits.max_window)


GZIP = Kind(formats.GZIP, lambda _: Inflate(31), padding=1)
BZIP2 = Kind(formats.BZIP2, lambda _: bz2.BZ2Decompressor(), padding=1)
XZ = Kind(formats.XZ, _lzma(lzma.FORMAT_XZ), padding=4, between=True)
ZSTD = Kind(formats.ZSTD, _zstd)
LZMA = Kind(formats.LZMA, _lzma(lzma.FORMAT_ALONE), checked=False)

#: All compressions with a reader.
KINDS = (GZIP, BZIP2, XZ, ZSTD, LZMA)


class Unpacked:
    """The contents of a file of one or more streams, as an iterator of pieces."""

    def __init__(self, source: Source, kind: Kind, meter: Meter) -> None:
        self._source = source
        self._kind = kind
        self._meter = meter
        #: Whether every stream so far ends with a check of its contents.
        self.checked = kind.checked

    def __iter__(self) -> Iterator[bytes]:
        kind = self._kind
        data = self._source.read(READ)
        if not kind.starts(data):
            raise ArchiveError(f"does not start as {kind.name} does")
        while data:
            self._meter.member()
            decoder = kind.make(self._meter)
            self._look_at_header(data)
            yield from self._stream(decoder, data)
            self._look_at_decoder(decoder)
            data = self._next(decoder.unused_data or self._source.read(READ))

    def _stream(self, decoder: Decoder, data: bytes) -> Iterator[bytes]:
        """Unpack one stream that starts with `data`."""
        name = self._kind.name
        while True:
            try:
                piece = decoder.decompress(data, WRITE)
            except BROKEN as error:
                raise broken(error, f"is broken {name}") from error
            if piece:
                self._meter.count(len(piece))
                yield piece
            if decoder.eof:
                return
            data = self._source.read(READ) if decoder.needs_input else b""
            if not data and decoder.needs_input:
                raise ArchiveError(f"is truncated: its {name} stream does not end")

    def _next(self, data: bytes) -> bytes:
        """Return the beginning of the next stream; empty at the end of the file."""
        padding = 0
        while data and self._kind.padding:
            rest = data.lstrip(b"\0")
            padding += len(data) - len(rest)
            data = rest
            if data:
                break
            data = self._source.read(READ)
            self._meter.tick()
        if len(data) < 8:
            data += self._source.read(READ)
        lost = padding and data and not self._kind.between
        odd = padding % max(1, self._kind.padding)
        if lost or odd or (data and not self._kind.starts(data)):
            raise ArchiveError(f"has something else behind its {self._kind.name} stream")
        if data and not self._kind.magics:
            raise ArchiveError(f"has something behind its {self._kind.name} stream")
        return data

    def _look_at_header(self, data: bytes) -> None:
        """Note whether a zstd stream has a check of its contents, as its fifth byte says."""
        if self._kind is ZSTD and data.startswith(self._kind.magics[0]):
            self.checked = self.checked and len(data) > 4 and bool(data[4] & 4)

    def _look_at_decoder(self, decoder: Decoder) -> None:
        """Note whether an xz stream had a check of its contents."""
        if isinstance(decoder, lzma.LZMADecompressor) and self._kind is XZ:
            known = (lzma.CHECK_CRC32, lzma.CHECK_CRC64, lzma.CHECK_SHA256)
            self.checked = self.checked and decoder.check in known


def broken(error: Exception, what: str) -> ArchiveError:
    """Translate an error of a C library into an `ArchiveError`."""
    said = str(error).rstrip(".")
    if "emory" in said:
        return ArchiveError(f"needs too much memory to unpack ({said})", Reason.TOO_LARGE)
    return ArchiveError(f"{what} ({said})" if said else what)


class PieceReader:
    """Reads any number of bytes from an iterator of pieces, with as little copying as possible."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = b""
        self._at = 0

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes; fewer only at the end."""
        end = self._at + size
        if end <= len(self._piece):
            result = self._piece[self._at : end]
            self._at = end
            return result
        parts = []
        for piece in self.pieces(size):
            parts.append(piece)
        return b"".join(parts)

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield the next `size` bytes as they come; fewer only at the end."""
        while size > 0:
            if self._at >= len(self._piece):
                self._piece, self._at = next(self._pieces, b""), 0
                if not self._piece:
                    return
            piece = self._piece[self._at : self._at + size] if self._at else self._piece[:size]
            self._at += len(piece)
            size -= len(piece)
            yield piece


def pieces_of(source: Source, meter: Meter) -> Iterator[bytes]:
    """Yield the bytes of a file that is not compressed."""
    while piece := source.read(WRITE):
        meter.count(len(piece))
        yield piece


class Slice:
    """The next `size` bytes of another source."""

    def __init__(self, source: Source, size: int) -> None:
        self._source = source
        self.left = size  #: bytes that were not read yet

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; raises `ArchiveError` if the source ends early."""
        wanted = min(size, self.left)
        data = self._source.read(wanted) if wanted else b""
        self.left -= len(data)
        if len(data) < wanted:
            raise ArchiveError("is truncated")
        return data
