"""One small archive of every format that can be read, made without other tools.

The same call gives the same bytes. `samples` has what `check_structure` must accept, by ending.
What is wrong on purpose is made from these by the tests. A new format needs a maker here, in
`PACKERS` or `MAKERS`; `tests/verify/archives/test_contract.py` is what it has to pass.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from pypimirror.domain import formats
from pypimirror.domain.formats import FORMATS, Format
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


@dataclass(frozen=True)
class Packer:
    """How a compression is made, and read by somebody else; what is expected of its archives."""

    pack: Callable[[bytes], bytes]
    unpack: Callable[[bytes], bytes]
    zeros: int = 0  #: zeros may stand behind, in groups of so many
    proof: str = "structure"
    found: float = 0.98  #: the least share of flipped bits that is found


#: A maker for each compression of tars that can be read.
PACKERS: dict[formats.Compression, Packer] = {
    # What a tar holds has no checksum, and its tools pass over zeros behind its end.
    formats.NONE: Packer(bytes, bytes, 1, "partial", 0.5),
    # Tar of macOS fills up with zeros.
    formats.GZIP: Packer(lambda data: gzip.compress(data, mtime=_SECONDS), gzip.decompress, 1),
    formats.BZIP2: Packer(bz2.compress, bz2.decompress, 1, found=1.0),
    formats.XZ: Packer(lzma.compress, lzma.decompress, 4, found=1.0),
    formats.ZSTD: Packer(
        lambda data: zstd.compress(data, options=_ZSTD_OPTIONS), zstd.decompress, found=0.99
    ),
    formats.LZMA: Packer(
        lambda data: lzma.compress(data, lzma.FORMAT_ALONE), lzma.decompress, proof="partial"
    ),
}

#: The same by the ending of the file.
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    each.ending: PACKERS[each.compression].pack
    for each in FORMATS
    if each.container == "tar" and each.compression in PACKERS
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


@dataclass(frozen=True)
class Sample:
    """An archive that is sound, and what holds of it."""

    form: Format
    filename: str
    content: bytes
    unpacked: Callable[[bytes], dict[str, bytes]]  #: names and contents, by Python's own modules
    proof: str = "structure"
    zeros: int = 0  #: zeros may stand behind it, in groups of so many
    found: float = 0.95  #: the least share of flipped bits that is found


def unpacked_zip(content: bytes) -> dict[str, bytes]:
    """Names and contents of a zip."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def unpacked_tar(content: bytes) -> dict[str, bytes]:
    """Names and contents of a tar."""
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        found = {member.name: archive.extractfile(member) for member in archive}
        return {name: stream.read() if stream else b"" for name, stream in found.items()}


#: A maker for each container but tar, and what its files are called.
MAKERS: dict[formats.Container, tuple[str, Callable[[], bytes]]] = {
    "wheel": (f"{STEM}-py3-none-any", make_wheel),
    "zip": (STEM, lambda: build.pack_zip(sdist_contents())),
    "egg": (f"{STEM}-py3.11", make_egg),
}


def _sample(form: Format) -> Sample | None:
    if form.container in MAKERS:
        stem, make = MAKERS[form.container]
        return Sample(form, stem + form.ending, make(), unpacked_zip)
    packer = PACKERS.get(form.compression)
    if form.container != "tar" or packer is None:
        return None
    return Sample(
        form,
        STEM + form.ending,
        make_sdist(form.ending),
        lambda content: unpacked_tar(packer.unpack(content)),
        packer.proof,
        packer.zeros,
        packer.found,
    )


@cache
def samples() -> dict[str, Sample]:
    """One of every format that can be read, by its ending."""
    found = {form.ending: _sample(form) for form in FORMATS}
    return {ending: sample for ending, sample in found.items() if sample}
