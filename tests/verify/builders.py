"""One small archive of every kind that can be read, made without other tools.

The same call gives the same bytes. `SAMPLES` has what `check_structure` must accept, by ending.
What is wrong on purpose is made from these by `damage` and by the tests.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import sys
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

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
    }
    for ending in COMPRESSORS:
        proof = "partial" if ending in (".tar", ".tar.lzma") else "structure"
        found[ending] = Sample(STEM + ending, make_sdist(ending), proof)
    return found
