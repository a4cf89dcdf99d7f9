"""Tar archives: walking them from the first header to the end of the file.

This module reads the formats v7, ustar, pax and GNU in one forward pass over unpacked bytes.
`streams` unpacks them, and `sdists` knows what the entries mean.

It does not use `tarfile`, which takes a damaged header for the end of the archive, ignores what
follows the end, and takes ten times as long. Both read an entry alike; a test compares them.

The rules:

* Every header has a correct checksum, and its numbers are numbers.
* A block of zeros ends the archive. Only zeros may follow: none, or at least a second whole block.
  All tools ignore them.
* Extra headers before an entry (pax, GNU's long names) must not repeat or contradict each other:
  GNU tar and libarchive use the last one, Python the first one, uv none.
* No name and no link leads out of the archive.
* There are no devices and no pipes.
* Names may repeat, because tar can append. The last entry of a name counts when it is unpacked.

Tar has no checksum for the contents of an entry. Only a compression around the tar brings one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct

from pypimirror.domain.model import Reason
from pypimirror.verify.archives.entries import link_fault, name_fault, unpacked_path
from pypimirror.verify.archives.limits import ArchiveError, Meter, shown
from pypimirror.verify.archives.streams import PieceReader

BLOCK = 512
_ZEROS = bytes(BLOCK)

#: Bytes of one pax header or long name: far more than any path needs, and still harmless.
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
# The real name of a sparse file is in a record of its own.
_PAX_KEYS = {
    b"path": "path",
    b"linkpath": "linkpath",
    b"size": "size",
    b"GNU.sparse.name": "sparse",
}


class Member(Struct, frozen=True):
    """An entry of a tar."""

    name: str  #: the path that it is unpacked to
    size: int  #: bytes that follow the header
    is_file: bool


#: Called with each entry. It returns a function that takes the contents in pieces, or None.
Visitor = Callable[[Member], Callable[[bytes], object] | None]


def walk_tar(pieces: Iterator[bytes], meter: Meter, visit: Visitor) -> None:
    """Read a tar to its end, and show each entry to `visit`; raises `ArchiveError`."""
    _Walk(pieces, meter, visit).run()


class _Walk:
    """One pass over one tar."""

    def __init__(self, pieces: Iterator[bytes], meter: Meter, visit: Visitor) -> None:
        self._reader = PieceReader(pieces)
        self._meter = meter
        self._visit = visit
        self._everywhere: dict[str, str] = {}  # from global pax headers, for all later entries
        self._extended: dict[str, str] = {}  # from extra headers, for the next entry
        self._kinds = b""  # the kinds of those extra headers
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
        """Read an extra header, which describes the next entry or all entries after it."""
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
        """Merge an extra header into what is known about the next entry."""
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
        """Skip to the next block. The padding is ignored: some writers leave garbage there."""
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
    """Refuse broken owners and times: `tarfile` cannot read such a header."""
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
    """Return the records of a pax header ("length key=value newline") that matter here."""
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
