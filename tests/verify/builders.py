"""One small archive of every kind that an index has ever offered, made without other tools.

The same call gives the same bytes. `SAMPLES` has what `check_structure` must accept, by ending.
What is wrong on purpose is made from these by `damage` and by the tests.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import struct
import sys
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from pypimirror.verify.archives import cabinets
from tests.corpus import build

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd

PROJECT, VERSION = "demo-pkg", "1.2.0"
STEM = "demo_pkg-1.2.0"
PKG_INFO = build.core_metadata(PROJECT, VERSION)
_SECONDS = 1577836800
_ZSTD_OPTIONS: dict[int, int] = {zstd.CompressionParameter.checksum_flag: 1}

#: How each ending of a tar is compressed.
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    ".tar.gz": lambda data: gzip.compress(data, mtime=_SECONDS),
    ".tgz": lambda data: gzip.compress(data, mtime=_SECONDS),
    ".tar.bz2": bz2.compress,
    ".tbz": bz2.compress,
    ".tbz2": bz2.compress,
    ".tar.xz": lzma.compress,
    ".txz": lzma.compress,
    ".tar.zst": lambda data: zstd.compress(data, options=_ZSTD_OPTIONS),
    ".tar.lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    ".tar": bytes,
}


def text(lines: int) -> bytes:
    """Something that compresses, but not to nothing."""
    rows = (hashlib.sha256(str(i).encode()).hexdigest()[: i % 60] for i in range(lines))
    return "\n".join(rows).encode()


def sdist_contents() -> dict[str, bytes]:
    """What the sdists hold."""
    return {
        f"{STEM}/PKG-INFO": PKG_INFO,
        f"{STEM}/setup.py": b"from setuptools import setup\nsetup()\n",
        f"{STEM}/demo_pkg/__init__.py": text(150),
        f"{STEM}/demo_pkg/data.bin": hashlib.shake_256(b"demo").digest(2000),
    }


def pack_tar(contents: Mapping[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar without the time of day."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, data in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(data), _SECONDS
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def make_sdist(ending: str) -> bytes:
    """An sdist that is a tar."""
    return COMPRESSORS[ending](pack_tar(sdist_contents()))


def make_wheel() -> bytes:
    """A wheel."""
    return build.make_wheel(PROJECT, VERSION, files={"demo_pkg/text.txt": text(150)}, padding=900)[
        1
    ]


def make_egg() -> bytes:
    """An egg."""
    return build.pack_zip({"EGG-INFO/PKG-INFO": PKG_INFO, "demo_pkg/__init__.py": text(150)})


def make_program() -> bytes:
    """A program for Windows that does nothing: headers and one section."""
    section = b"\x90" * 512
    head = b"MZ".ljust(60, b"\0") + struct.pack("<L", 64)
    head += b"PE\0\0" + struct.pack("<HH12xHH", 0x14C, 1, 224, 0x102) + bytes(224)
    head += b".text\0\0\0" + struct.pack("<LLLL16x", 512, 0x1000, len(section), 512)
    return head.ljust(512, b"\0") + section


def make_exe(*, name: str = PROJECT, version: str = VERSION, archive: bytes = b"") -> bytes:
    """What bdist_wininst made."""
    settings = (
        f"[metadata]\nauthor=A\nname={name}\nversion={version}\n\n[Setup]\ntitle=T\n".encode()
    )
    settings += b"\0\0"
    bitmap = b"BM" + bytes(100)
    archive = archive or build.pack_zip({"PURELIB/demo_pkg/__init__.py": text(150)})
    trailer = struct.pack("<iii", 0x1234567B, len(settings), len(bitmap))
    return make_program() + bitmap + settings + trailer + archive


def make_deb(ending: str = ".gz", *, name: str = f"python3-{PROJECT}") -> bytes:
    """A package of Debian."""
    compress = COMPRESSORS[f".tar{ending}"]
    control = f"Package: {name}\nVersion: {VERSION}-1\nArchitecture: all\n".encode()
    parts = {
        "debian-binary": b"2.0\n",
        f"control.tar{ending}": compress(pack_tar({"./control": control})),
        f"data.tar{ending}": compress(pack_tar({"./usr/lib/demo_pkg/__init__.py": text(150)})),
    }
    packed = b"!<arch>\n"
    for part, data in parts.items():
        packed += f"{part:<16}{_SECONDS:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
        packed += data + b"\n" * (len(data) % 2)
    return packed


def pack_cpio(contents: Mapping[str, bytes]) -> bytes:
    """A cpio archive as rpm writes it."""
    packed = b""
    for name, data in [*contents.items(), ("TRAILER!!!", b"")]:
        raw = name.encode() + b"\0"
        fields = [1, 0o100644, 0, 0, 1, _SECONDS, len(data), 0, 0, 0, 0, len(raw), 0]
        packed += b"070701" + b"".join(b"%08x" % field for field in fields) + raw
        packed += bytes(-len(packed) % 4) + data + bytes(-len(data) % 4)
    return packed


def _rpm_header(tags: list[tuple[int, int, int, bytes]]) -> bytes:
    """A header of an rpm, of (tag, type, count, value)."""
    index, store = b"", b""
    for tag, kind, count, value in tags:
        if kind == 4:
            store += bytes(-len(store) % 4)
        index += struct.pack(">4L", tag, kind, len(store), count)
        store += value
    intro = b"\x8e\xad\xe8\x01" + bytes(4) + struct.pack(">LL", len(tags), len(store))
    return intro + index + store


def make_rpm(
    *,
    name: str = PROJECT,
    version: str = VERSION,
    digests: bool = True,
    compressor: str = "gzip",
    packed: bool = True,
) -> bytes:
    """A package of Red Hat; rpmbuild names no compressor for a payload that is not packed."""
    cpio = pack_cpio({"./usr/lib/demo_pkg/__init__.py": text(150)})
    payload = gzip.compress(cpio, mtime=_SECONDS) if packed else cpio
    header = _rpm_header(
        [
            (1000, 6, 1, name.encode() + b"\0"),
            (1001, 6, 1, version.encode() + b"\0"),
            (1124, 6, 1, b"cpio\0"),
            *([(1125, 6, 1, compressor.encode() + b"\0")] * bool(compressor)),
            *([(5092, 8, 1, hashlib.sha256(payload).hexdigest().encode() + b"\0")] * digests),
            *([(5093, 4, 1, struct.pack(">L", 8))] * digests),
        ]
    )
    behind = header + payload
    md5 = hashlib.md5(behind, usedforsecurity=False).digest()
    sha1 = hashlib.sha1(header, usedforsecurity=False).hexdigest().encode() + b"\0"
    signature = _rpm_header(
        [
            *([(269, 6, 1, sha1)] * digests),
            *([(1004, 7, 16, md5)] * digests),
            (1000, 4, 1, struct.pack(">L", len(behind))),
            (1007, 4, 1, struct.pack(">L", len(cpio))),
        ]
    )
    signature += bytes(-len(signature) % 8)
    lead = b"\xed\xab\xee\xdb\x03\x00".ljust(96, b"\0")
    return lead + signature + behind


def make_cabinet(contents: Mapping[str, bytes]) -> bytes:
    """A cabinet of one folder, packed by MSZIP."""
    whole = b"".join(contents.values())
    blocks, window = b"", b""
    starts = range(0, len(whole), 1 << 15)
    for start in starts:
        piece = whole[start : start + (1 << 15)]
        packer = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=window)
        block = b"CK" + packer.compress(piece) + packer.flush()
        sizes = struct.pack("<HH", len(block), len(piece))
        total = cabinets.checksum(sizes, cabinets.checksum(block))
        blocks += struct.pack("<L", total) + sizes + block
        window = piece
    files, at = b"", 0
    for name, data in contents.items():
        files += struct.pack("<LLHHHH", len(data), at, 0, 0, 0, 0x20) + name.encode() + b"\0"
        at += len(data)
    start = 36 + 8 + len(files)
    folder = struct.pack("<LHH", start, len(starts), 1)
    fields = (start + len(blocks), 0, 44, 0, 3, 1, 1, len(contents), 0, 7, 0)
    head = b"MSCF" + bytes(4) + struct.pack("<LLLLBBHHHHH", *fields)
    return head + folder + files + blocks


def make_compound(streams: Mapping[str, bytes]) -> bytes:
    """A compound file of one table sector, whose streams are all large."""
    sectors: list[bytes] = [b""]  # the table itself
    table = [0xFFFFFFFD]

    def add(data: bytes) -> int:
        first = len(sectors)
        count = -(-len(data) // 512)
        for i in range(count):
            sectors.append(data[512 * i : 512 * i + 512].ljust(512, b"\0"))
            table.append(first + i + 1 if i + 1 < count else 0xFFFFFFFE)
        return first

    def record(name: str, kind: int, start: int, size: int) -> bytes:
        raw = (name + "\0").encode("utf-16-le")
        head = raw.ljust(64, b"\0") + struct.pack("<HBB3L", len(raw), kind, 1, *[0xFFFFFFFF] * 3)
        return head.ljust(116, b"\0") + struct.pack("<LQ", start, size)

    records = [record("Root Entry", 5, 0xFFFFFFFE, 0)]
    for name, data in streams.items():
        data = data.ljust(4096, b"\0")
        records.append(record(name, 2, add(data), len(data)))
    directory = add(b"".join(records))
    sectors[0] = struct.pack("<128L", *table, *[0xFFFFFFFF] * (128 - len(table)))
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    header += struct.pack("<5H6x", 0x3E, 3, 0xFFFE, 9, 6)
    end = 0xFFFFFFFE
    header += struct.pack("<9L", 0, 1, directory, 0, 4096, end, 0, end, 0)
    header += struct.pack("<109L", 0, *[0xFFFFFFFF] * 108)
    return header + b"".join(sectors)


def make_msi() -> bytes:
    """A package of Windows Installer."""
    noise = hashlib.shake_256(b"cabinet").digest(20000)
    cabinet = make_cabinet({"a.py": noise, "b.py": text(900)})
    return make_compound({"cabinet": cabinet, "!_StringData": text(100)})


@dataclass(frozen=True)
class Sample:
    """An archive that is right."""

    filename: str
    content: bytes
    proof: str = "structure"


@cache
def samples() -> dict[str, Sample]:
    """One of every kind, by its ending."""
    found = {
        ".whl": Sample(f"{STEM}-py3-none-any.whl", make_wheel()),
        ".zip": Sample(f"{STEM}.zip", build.pack_zip(sdist_contents())),
        ".egg": Sample(f"{STEM}-py3.11.egg", make_egg()),
        ".exe": Sample(f"{STEM}.win32-py2.7.exe", make_exe()),
        ".msi": Sample(f"{STEM}.win32-py2.7.msi", make_msi(), "partial"),
        ".rpm": Sample("demo-pkg-1.2.0-1.noarch.rpm", make_rpm()),
        ".deb": Sample("python3-demo-pkg_1.2.0-1_all.deb", make_deb()),
    }
    for ending in COMPRESSORS:
        proof = "partial" if ending in (".tar", ".tar.lzma") else "structure"
        found[ending] = Sample(STEM + ending, make_sdist(ending), proof)
    return found
