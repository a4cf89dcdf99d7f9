"""Undo the Content-Encoding of a body, within a bound.

A label that says nothing about the bytes is ignored. Like all clients, this module also reads
deflate without the header that the standard asks for.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from pypimirror.domain.model import Reason
from pypimirror.download.failure import Again, FetchError, bad_response
from pypimirror.download.http.body import Raw
from pypimirror.download.http.connection import READ_SIZE

#: Labels that say nothing about the bytes. S3 keeps the framing of an upload, and any label that
#: its uploader gave, such as a character encoding.
_PLAIN = frozenset(
    (
        *("", "identity", "aws-chunked", "none", "null", "binary", "8bit", "7bit"),
        *("utf-8", "utf8", "ascii", "us-ascii", "iso-8859-1", "windows-1252"),
    )
)
_PACKED = frozenset({"gzip", "x-gzip", "deflate"})


def packing(label: str) -> str:
    """Return the encodings to undo, "" for none."""
    parts = (part.strip().lower() for part in label.split(","))
    return ", ".join(part for part in parts if part not in _PLAIN)


def opens(encoding: str) -> bool:
    """Whether this module can undo these encodings."""
    return encoding in _PACKED


def decoded(raw: Raw, label: str, limit: int) -> Iterator[bytes | memoryview]:
    """Yield a body with its Content-Encoding undone, never more than `limit` bytes.

    Raises `FetchError`: TOO_LARGE, BAD_RESPONSE, TRUNCATED. It stops early: neither a bomb nor an
    endless body that unpacks to nothing costs more than the limit.
    """
    pieces = _undo(raw, packing(label), limit)
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > limit:
            raw.close()
            raise FetchError(
                Reason.TOO_LARGE, f"The answer has more than the allowed {limit} bytes."
            )
        yield piece


# zlib tells the two apart by the header.
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


def _is_bare(data: bytes) -> bool:
    """Whether deflate begins without zlib's header, whose first half byte is always 8.

    Bare deflate cannot begin with that half byte: it would mean a block of stored bytes with a bit
    set in its padding, which no program writes.
    """
    return data[0] & 0x0F != 8 and data[0] != 0x1F


def _undo(raw: Raw, encoding: str, limit: int) -> Iterator[bytes | memoryview]:
    if not encoding:
        while piece := raw.next_piece():
            yield piece
        return
    if not opens(encoding):
        raw.close()
        raise bad_response(f"The answer has the Content-Encoding {encoding[:40]!r}, unasked.")
    inflate = zlib.decompressobj(_GZIP_OR_ZLIB)
    step = min(1 << 20, limit + 1)
    came = 0
    try:
        while piece := raw.next_piece():
            data = bytes(piece)
            if not came and encoding == "deflate" and _is_bare(data):
                inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            came += len(data)
            if came > limit + READ_SIZE:  # what cannot be compressed grows by less
                raw.close()
                raise FetchError(
                    Reason.TOO_LARGE,
                    f"The answer has more than the allowed {limit} bytes, compressed as they are.",
                )
            while data:
                if inflate.eof:  # another member
                    inflate = zlib.decompressobj(_GZIP_OR_ZLIB)
                yield inflate.decompress(data, step)
                data = inflate.unconsumed_tail or inflate.unused_data
        while not inflate.eof and (rest := inflate.decompress(inflate.unconsumed_tail, step)):
            yield rest
    except zlib.error as error:
        raw.close()
        raise bad_response(f"The answer is not the {encoding} that it says: {error}.") from error
    if not inflate.eof:
        raise FetchError(
            Reason.TRUNCATED, f"The {encoding} stream of the answer ends early.", again=Again.ALWAYS
        )
