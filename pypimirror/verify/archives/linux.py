"""Packages of Linux distributions, which indexes took for a while: .rpm and .deb.

Lives here: the headers of both, and what they say of their payloads. Does not live here: tar,
cpio (`cpios`) and compression.

An .rpm has digests of its own over everything behind its first header; those that are there must
hold. A .deb has none, but its parts are compressed. Links in either may point anywhere: they are
made for the root of a system.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from pypimirror.domain.filenames import belongs
from pypimirror.domain.model import Reason
from pypimirror.verify.archives.cpios import walk_cpio
from pypimirror.verify.archives.limits import ArchiveError, Meter, shown
from pypimirror.verify.archives.streams import (
    BZIP2,
    GZIP,
    LZMA,
    XZ,
    ZSTD,
    Kind,
    Part,
    Source,
    Unpacked,
    pieces_of,
)
from pypimirror.verify.archives.tars import Member, walk_tar
from pypimirror.verify.digests import new_hash
from pypimirror.verify.identity import Identity
from pypimirror.verify.sdists import NO_CHECKSUM, NO_IDENTITY

_LEAD = 96  # bytes
_MAX_HEADER = 64 << 20
_MAX_TAGS = 1 << 16

# Tags of the first header (of signatures), and of the second.
_SIG_SHA1, _SIG_SHA256, _SIG_SIZE, _SIG_MD5, _SIG_UNPACKED = 269, 273, 1000, 1004, 1007
_NAME, _VERSION, _FORMAT, _COMPRESSOR, _DIGEST, _DIGEST_ALGORITHM = (
    *(1000, 1001, 1124, 1125, 5092, 5093),
)
_WANTED = frozenset(
    (
        *(_SIG_SHA1, _SIG_SHA256, _SIG_SIZE, _SIG_MD5, _SIG_UNPACKED),
        *(_NAME, _VERSION, _FORMAT, _COMPRESSOR, _DIGEST, _DIGEST_ALGORITHM),
    )
)
_KINDS = {b"gzip": GZIP, b"bzip2": BZIP2, b"xz": XZ, b"zstd": ZSTD, b"lzma": LZMA}
_SHA = {8: "sha256", 9: "sha384", 10: "sha512"}  # as OpenPGP numbers them
_BY_ENDING = {"": None, ".gz": GZIP, ".bz2": BZIP2, ".xz": XZ, ".zst": ZSTD, ".lzma": LZMA}
_NO_DIGEST = "its payload has no digest"
_PAYLOAD = "its payload is of a kind that cannot be read"
_FIELD = re.compile(rb"^(Package|Version):[ \t]*([^\r\n]*)", re.M)

_Tags = dict[int, bytes]


class _Hashed:
    """A source that hashes what is read."""

    def __init__(self, source: Source, hashes: list[Any]) -> None:
        self._source = source
        self._hashes = hashes
        self.size = 0

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size)
        self.size += len(data)
        for state in self._hashes:
            state.update(data)
        return data


class _Ahead:
    """A source of which the first bytes were read already."""

    def __init__(self, source: Source, ahead: bytes) -> None:
        self._source = source
        self.ahead = ahead  #: what was read and not yet given out

    def read(self, size: int, /) -> bytes:
        data, self.ahead = self.ahead[:size], self.ahead[size:]
        return data + self._source.read(size - len(data)) if len(data) < size else data


def check_rpm(stream: BinaryIO, _size: int, identity: Identity, meter: Meter) -> list[str]:
    """Read an .rpm to its end; return what could not be checked."""
    lead = stream.read(_LEAD)
    if len(lead) < _LEAD or lead[4] not in (3, 4):
        raise ArchiveError("is truncated, or has a broken lead")
    signature, _ = _read_header(stream, "signature", align=True)
    md5 = new_hash("md5")
    source = _Hashed(stream, [md5])
    header, raw = _read_header(source, "header", align=False)
    _check_header(signature, raw)
    _check_name(header, identity)
    payload = new_hash(_SHA.get(_number(header, _DIGEST_ALGORITHM), "sha256"))
    source = _Hashed(source, [payload])
    unchecked = _walk_payload(source, header, signature, meter)
    while source.read(1 << 18):
        meter.tick()
    total = len(raw) + source.size
    if (claimed := _number(signature, _SIG_SIZE)) not in (0, total):
        raise ArchiveError(f"has {total} bytes behind its signature, where it says {claimed}")
    claims = [
        (signature.get(_SIG_MD5), md5.digest(), "md5"),
        (_text(header, _DIGEST), payload.hexdigest().encode(), "payload digest"),
    ]
    for claim, found, name in claims:
        if claim and claim[: len(found)] != found:
            raise ArchiveError(f"has another {name} than it says")
    if not any(claim for claim, _, _ in claims):
        unchecked.append(_NO_DIGEST)
    return unchecked


def _read_header(source: Source, what: str, *, align: bool) -> tuple[_Tags, bytes]:
    """Read a header: its tags with the bytes from the value's start on, and itself."""
    intro = source.read(16)
    magic, count, length = struct.unpack(">4s4xLL", intro.ljust(16, b"\0"))
    if magic != b"\x8e\xad\xe8\x01":
        raise ArchiveError(f"is truncated, or has a broken {what}")
    if count > _MAX_TAGS or length > _MAX_HEADER:
        raise ArchiveError(f"has a {what} of {count} tags and {length} bytes", Reason.TOO_LARGE)
    data = source.read(16 * count + length)
    padding = -length % 8 if align else 0
    if len(data) < 16 * count + length or len(source.read(padding)) < padding:
        raise ArchiveError(f"is truncated in its {what}")
    tags: _Tags = {}
    for tag, kind, offset, items in struct.iter_unpack(">4L", data[: 16 * count]):
        if offset > length or kind > 9:
            raise ArchiveError(f"has a broken {what}")
        if tag not in _WANTED:
            continue
        # What matters here is short.
        width = {3: 2, 4: 4, 5: 8, 7: 1}.get(kind)
        start = 16 * count + offset
        end = start + (min(items, 64) * width if width else 4096)
        if tag not in tags:
            tags[tag] = data[start:end] if width else data[start:end].split(b"\0", 1)[0]
    return tags, intro + data


def _check_header(signature: _Tags, raw: bytes) -> None:
    for tag, name in ((_SIG_SHA1, "sha1"), (_SIG_SHA256, "sha256")):
        state = new_hash(name)
        state.update(raw)
        if tag in signature and signature[tag] != state.hexdigest().encode():
            raise ArchiveError(f"has a header with another {name} than it says")


def _check_name(header: _Tags, identity: Identity) -> None:
    name, version = (_text(header, tag).decode("utf-8", "replace") for tag in (_NAME, _VERSION))
    _check_system_name(name, version, ".rpm", identity)


def _check_system_name(name: str, version: str, ending: str, identity: Identity) -> None:
    """Distributions put "python-" before a name, and rewrite versions."""
    bare = re.sub(r"\Apython[0-9.]*-", "", name)
    if not (identity.is_named(name) or identity.is_named(bare)) and not belongs(
        f"{name}-{version}{ending}", identity.project
    ):
        raise ArchiveError(f"names the project {shown(name)}", Reason.WRONG_PROJECT)
    if not identity.has_version(version):
        raise ArchiveError(f"names the version {shown(version)}", Reason.WRONG_PROJECT)


def _walk_payload(source: Source, header: _Tags, signature: _Tags, meter: Meter) -> list[str]:
    compressor = _text(header, _COMPRESSOR)
    kind = _KINDS.get(compressor or b"gzip")
    if kind is None or (_text(header, _FORMAT) or b"cpio") != b"cpio":
        return [_PAYLOAD]
    unpacked = meter.unpacked
    source = _Ahead(source, source.read(2))
    # rpm names no compressor where there is none ("w.ufdio"), and once named none for gzip.
    is_plain = not compressor and not kind.starts(source.ahead)
    walk_cpio(pieces_of(source, meter) if is_plain else iter(Unpacked(source, kind, meter)), meter)
    found = meter.unpacked - unpacked
    if (claimed := _number(signature, _SIG_UNPACKED)) not in (0, found):
        raise ArchiveError(f"unpacks to {found} bytes, where it says {claimed}")
    return []


def _number(tags: _Tags, tag: int) -> int:
    return int.from_bytes(tags.get(tag, b"")[:4], "big")


def _text(tags: _Tags, tag: int) -> bytes:
    return tags.get(tag, b"").split(b"\0", 1)[0]


def check_deb(stream: BinaryIO, _size: int, identity: Identity, meter: Meter) -> list[str]:
    """Read a .deb to its end; return what could not be checked."""
    stream.seek(8)
    unchecked: set[str] = set()
    stages = ["debian-binary", "control.tar", "data.tar"]
    control: list[bytes] = []
    for name, part in _members(stream):
        meter.entry()
        stage = stages.pop(0) if stages else ""
        stem, ending = (name[: len(stage)], name[len(stage) :]) if stage else ("", name)
        if stem != stage or not stage or ending not in _BY_ENDING:
            raise ArchiveError(f"has a part {shown(name)} where it should not be")
        if stage == "debian-binary":
            if not part.read(100).startswith(b"2."):
                raise ArchiveError("is no .deb of version 2")
        else:
            kind = _BY_ENDING[ending]
            if not _walk_part(part, kind, control, meter) and part.left >= 0:
                unchecked.add(NO_CHECKSUM)
        while part.read(1 << 16):
            meter.tick()
    if stages:
        raise ArchiveError(f"is truncated, or has no {stages[0]}")
    return [*sorted(unchecked), *_check_control(b"".join(control), identity)]


def _members(stream: BinaryIO) -> Iterator[tuple[str, Part]]:
    """The members of an `ar` archive; each is to be read before the next is asked for."""
    while header := stream.read(60):
        try:
            if len(header) < 60 or header[58:] != b"`\n":
                raise ValueError
            size = int(header[48:58].decode("ascii"))
            name = header[:16].decode("ascii").rstrip().rstrip("/")
            if size < 0:
                raise ValueError
        except ValueError:
            raise ArchiveError("is truncated, or has something else than parts in it") from None
        yield name, Part(stream, size)
        if size % 2 and stream.read(1) != b"\n":
            raise ArchiveError("is truncated, or has something between its parts")


def _walk_part(part: Part, kind: Kind | None, control: list[bytes], meter: Meter) -> bool:
    """Walk one of the two tars; return whether its contents have a checksum."""
    most = meter.limits.max_metadata

    def visit(member: Member) -> Callable[[bytes], object] | None:
        if member.name != "control" or not member.is_file:
            return None
        meter.held(member.size, "a control file", most)
        control.clear()
        return control.append

    unpacked = None if kind is None else Unpacked(part, kind, meter)
    pieces = pieces_of(part, meter) if unpacked is None else iter(unpacked)
    walk_tar(pieces, meter, visit, links_stay=False)
    return unpacked is not None and unpacked.checked


def _check_control(control: bytes, identity: Identity) -> list[str]:
    found = {
        match[1]: match[2].decode("utf-8", "replace").strip() for match in _FIELD.finditer(control)
    }
    if found.keys() != {b"Package", b"Version"}:
        return [NO_IDENTITY]
    # epoch:version-revision
    version = re.sub(r"\A[0-9]+:", "", found[b"Version"])
    version = re.sub(r"-[^-]*\Z", "", version).replace("~", "")
    _check_system_name(found[b"Package"], version, ".deb", identity)
    return []
