"""Tar archives: walking them from the first header to the end of the file.

Lives here: the formats v7, ustar, pax and GNU, as one forward pass over unpacked bytes. Does not
live here: compression (`streams`) and what the entries mean (`sdists`).

`tarfile` is not used: it takes a damaged header for the end of the archive, does not look behind
the end, and spends ten times as long. What it and this module make of an entry is the same, and a
test holds them against each other.

The rules:

* every header has a right checksum, and its numbers are numbers;
* an archive ends with a block of zeros, and only zeros follow, of whatever number once a second
  block is whole: all tools pass over them;
* of what stands in front of an entry and says more of it, no kind comes twice, and no two say
  different things: GNU tar and libarchive heed the last one, Python the first one, uv none;
* no name and no link climbs out of the archive;
* there are no devices and no pipes;
* names may repeat: tar appends, and the last one counts when it is unpacked.

The contents of an entry have no checksum in a tar. Only compression around it brings one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pypimirror.domain.model import Reason
from pypimirror.verify.archives.entries import link_fault, name_fault, unpacked_path
from pypimirror.verify.archives.limits import ArchiveError, Meter, shown
from pypimirror.verify.archives.streams import Reader

BLOCK = 512
_ZEROS = bytes(BLOCK)

#: Bytes of one pax header or long name; far above any path, far below what hurts.
_MAX_EXTENSION = 1 << 20

_OTHER_NUMBERS = (
    (slice(100, 108), "mode"),
    (slice(108, 116), "user"),
    (slice(116, 124), "group"),
    (slice(136, 148), "time"),
    (slice(329, 337), "device"),
    (slice(337, 345), "device"),
)
_REGULAR = b"0\x007"
_WITHOUT_DATA = b"123456"
_LINK, _SYMLINK, _DIRECTORY = b"125"
_SPECIAL = {0x33: "a character device", 0x34: "a block device", 0x36: "a pipe"}
_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK, _SPARSE = b"xgLKS"
_SOLARIS_PAX = ord("X")
# The real name of a sparse file stands in a record of its own.
_PAX_KEYS = {
    b"path": "path",
    b"linkpath": "linkpath",
    b"size": "size",
    b"GNU.sparse.name": "sparse",
}


@dataclass(frozen=True)
class Member:
    """An entry of a tar."""

    name: str  #: the path that it is unpacked to
    size: int  #: bytes that follow the header
    is_file: bool


#: Gets each entry; returns what wants its contents in pieces, or None.
Visitor = Callable[[Member], Callable[[bytes], object] | None]


def walk_tar(pieces: Iterator[bytes], meter: Meter, visit: Visitor) -> None:
    """Read a tar to its end, and show each entry to `visit`; raises `ArchiveError`."""
    _Walk(pieces, meter, visit).run()


class _Walk:
    """One pass over one tar."""

    def __init__(self, pieces: Iterator[bytes], meter: Meter, visit: Visitor) -> None:
        self._reader = Reader(pieces)
        self._meter = meter
        self._visit = visit
        self._everywhere: dict[str, str] = {}  # of global pax headers
        self._extended: dict[str, str] = {}  # for the next entry
        self._kinds = b""  # of the headers that said so
        self._last = "the beginning"

    def run(self) -> None:
        """Read header after header."""
        while True:
            block = self._reader.read(BLOCK)
            if block == _ZEROS:
                break
            if len(block) < BLOCK:
                where = "is truncated" if block else "ends without the mark of a tar's end"
                raise ArchiveError(f"{where} behind {self._last}")
            self._header(block)
        if self._kinds:
            raise ArchiveError("ends with a header that belongs to a next entry")
        self._only_zeros()

    def _header(self, block: bytes) -> None:
        if not _checksum_is_right(block):
            if self._last == "the beginning":
                raise ArchiveError("is not a tar: it does not start with a header of one")
            raise ArchiveError(f"has a tar header with a wrong checksum behind {self._last}")
        kind = block[156]
        _check_numbers(block, self._last)
        size = _number(block[124:136], "size", self._last)
        if kind in (_PAX, _PAX_GLOBAL, _SOLARIS_PAX, _LONG_NAME, _LONG_LINK):
            self._meter.entry()
            self._extension(kind, size)
            return
        self._entry(block, kind, size)
        self._extended, self._kinds = {}, b""

    def _extension(self, kind: int, size: int) -> None:
        """Read a header that says something of the next entry, or of all that follow."""
        if size > _MAX_EXTENSION:
            raise ArchiveError(
                f"has a tar header of {size} bytes behind {self._last}, where {_MAX_EXTENSION}"
                " are allowed",
                Reason.TOO_LARGE,
            )
        data = self._reader.read(size)
        if len(data) < size:
            raise ArchiveError(f"is truncated in a tar header behind {self._last}")
        self._pad(size)
        match kind:
            case 0x4C:
                self._extend(kind, {"path": _text(data)})
            case 0x4B:
                self._extend(kind, {"linkpath": _text(data)})
            case 0x67:
                self._everywhere |= _pax(data, self._last)
            case _:
                self._extend(_PAX, _pax(data, self._last))

    def _extend(self, kind: int, said: dict[str, str]) -> None:
        """Add what a header says of the next entry to what others said of it."""
        if kind in self._kinds or any(self._extended.get(k, v) != v for k, v in said.items()):
            raise ArchiveError(
                f"has two headers for one entry behind {self._last}, which tar programs read"
                " differently"
            )
        self._kinds += bytes([kind])
        self._extended |= said

    def _entry(self, block: bytes, kind: int, size: int) -> None:
        said = self._everywhere | self._extended if self._everywhere else self._extended
        name = said.get("path")
        if name is None:
            name = _name(block)
        self._meter.entry()
        self._last = label = f"entry {shown(name)}"
        if "size" in said:
            size = _decimal(said["size"], label)
        if kind in _REGULAR and name.endswith("/"):
            kind = _DIRECTORY  # v7 has no other way to say so
        self._check(name, kind, said.get("linkpath") or _text(block[157:257]))
        if kind == _SPARSE:
            self._sparse(block)
        if kind in _WITHOUT_DATA:
            size = 0
        member = Member(unpacked_path(name), size, kind not in _WITHOUT_DATA)
        self._contents(size, self._visit(member))

    def _check(self, name: str, kind: int, target: str) -> None:
        fault = name_fault(name)
        if fault is None and kind in _SPECIAL:
            fault = f"is {_SPECIAL[kind]}"
        if fault is None and kind == _LINK and (bad := name_fault(target)):
            fault = f"is a link whose target {bad}"
        if fault is None and kind == _SYMLINK:
            fault = link_fault(name, target)
        if fault is not None:
            raise ArchiveError(f"has an {self._last} that {fault}")

    def _contents(self, size: int, take: Callable[[bytes], object] | None) -> None:
        left = size
        for piece in self._reader.pieces(size):
            left -= len(piece)
            if take is not None:
                take(piece)
        if left:
            raise ArchiveError(f"is truncated in {self._last}: {left} of {size} bytes are missing")
        self._pad(size)

    def _pad(self, size: int) -> None:
        """Read on to the next block. Some writers leave anything there, so it is not looked at."""
        padding = -size % BLOCK
        if padding and len(self._reader.read(padding)) < padding:
            raise ArchiveError(f"is truncated behind {self._last}")

    def _sparse(self, block: bytes) -> None:
        """Read the further headers of a GNU sparse file."""
        more = block[482]
        while more:
            block = self._reader.read(BLOCK)
            if len(block) < BLOCK:
                raise ArchiveError(f"is truncated in {self._last}")
            more = block[504]
            self._meter.tick()

    def _only_zeros(self) -> None:
        length = 0
        while piece := self._reader.read(1 << 16):
            length += len(piece)
            if piece.count(0) != len(piece):
                raise ArchiveError("has something behind the end of its tar")
        if 0 < length < BLOCK:
            raise ArchiveError("is truncated in the mark of its tar's end")


def _checksum_is_right(block: bytes) -> bool:
    try:
        claimed = _octal(block[148:156])
    except ValueError:
        return False
    rest = block[:148] + block[156:]
    unsigned = 256 + sum(rest)
    if claimed == unsigned:
        return True
    # Some old systems summed up signed bytes.
    return claimed == unsigned - 256 * sum(byte > 127 for byte in rest)


def _octal(field: bytes) -> int:
    text = field.split(b"\0", 1)[0].strip(b" ")
    if text.strip(b"01234567"):
        raise ValueError("not octal")
    return int(text or b"0", 8)


def _number(field: bytes, what: str, where: str) -> int:
    """A number as tar writes it: octal, or GNU's base 256."""
    try:
        value = int.from_bytes(field[1:], "big") if field[0] == 0x80 else _octal(field)
    except ValueError:
        raise ArchiveError(f"has a tar header without a {what} behind {where}") from None
    return value


def _check_numbers(block: bytes, where: str) -> None:
    """Owners and times do not matter here, but `tarfile` reads no header where they are broken."""
    for field, what in _OTHER_NUMBERS:
        value = block[field]
        if value[0] == 0xFF:  # a negative number
            continue
        digits = value.strip(b" \0")
        if digits and not digits.isdigit():
            _number(value, what, where)
        elif b"8" in digits or b"9" in digits:
            raise ArchiveError(f"has a tar header without a {what} behind {where}")


def _decimal(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ArchiveError(f"has a size that is no number in the pax header of {where}")
    return int(text)


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _name(block: bytes) -> str:
    name = _text(block[:100])
    if block[257:263] == b"ustar\0" and block[345]:
        return f"{_text(block[345:500])}/{name}"
    return name


def _pax(data: bytes, where: str) -> dict[str, str]:
    """The records "length key=value newline" of a pax header; only those that matter here."""
    found: dict[str, str] = {}
    at = 0
    while at < len(data) and data[at]:
        space = data.find(b" ", at, at + 20)
        digits = data[at:space] if space > at else b""
        end = at + int(digits) if digits.isdigit() else at
        record = data[space + 1 : end]
        key, equals, value = record.partition(b"=")
        if end > len(data) or not equals or not value.endswith(b"\n"):
            raise ArchiveError(f"has a broken pax header behind {where}")
        if key in _PAX_KEYS:
            found[_PAX_KEYS[key]] = value[:-1].decode("utf-8", "surrogateescape")
        at = end
    if sparse := found.pop("sparse", None):
        found["path"] = sparse
    return found
