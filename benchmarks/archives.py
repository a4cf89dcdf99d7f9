"""Valid wheels and sdists of a given size, made fast: the same arguments give the same bytes.

Most of their bytes are noise that is stored and not compressed, because compressing gigabytes would
take longer than the benchmark itself. Small parts (metadata, RECORD) are compressed as usual.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import random
import tarfile
import zipfile

from tests.corpus.build import core_metadata, record_line, stem

_MOMENT = (2020, 1, 1, 0, 0, 0)
_POOL = 8 << 20  #: bytes of noise that all archives share
_FRAME = 1200  #: bytes that an archive has besides its noise, roughly


@functools.cache
def _pool() -> bytes:
    return random.Random("noise").randbytes(_POOL)


def noise(key: str, size: int) -> bytes:
    """Return `size` bytes that do not compress, others for each key."""
    seed = hashlib.sha256(key.encode()).digest()
    pool = _pool()
    start = int.from_bytes(seed[:4], "big") % len(pool)
    body = pool[start:] + pool[:start]
    times = size // len(body) + 1
    return (seed + body * times if times > 1 else seed + body[:size])[:size]


def make_wheel(name: str, version: str, size: int) -> tuple[str, bytes, bytes]:
    """Return a wheel of about `size` bytes: file name, bytes, METADATA."""
    start = stem(name, version)
    package, information = start.rpartition("-")[0], f"{start}.dist-info"
    metadata = core_metadata(name, version, requires_python=">=3.8", description="noise\n" * 20)
    contents = {
        f"{package}/noise.bin": noise(start, max(0, size - _FRAME)),
        f"{information}/METADATA": metadata,
        f"{information}/WHEEL": (
            b"Wheel-Version: 1.0\nGenerator: benchmarks\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
    }
    record = "".join(record_line(path, data) for path, data in contents.items())
    contents[f"{information}/RECORD"] = f"{record}{information}/RECORD,,\n".encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, data in contents.items():
            entry = zipfile.ZipInfo(path, _MOMENT)
            is_bulk = path.endswith(".bin")
            entry.compress_type = zipfile.ZIP_STORED if is_bulk else zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return f"{start}-py3-none-any.whl", buffer.getvalue(), metadata


def make_sdist(name: str, version: str, size: int) -> tuple[str, bytes, bytes]:
    """Return an sdist of about `size` bytes: file name, bytes, and no metadata beside it."""
    start = stem(name, version)
    contents = {
        f"{start}/PKG-INFO": core_metadata(name, version, requires_python=">=3.8"),
        f"{start}/noise.bin": noise(start, max(0, size - 3 * _FRAME)),
    }
    buffer = io.BytesIO()
    with (
        gzip.GzipFile("", "wb", compresslevel=0, fileobj=buffer, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path, data in contents.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return f"{start}.tar.gz", buffer.getvalue(), b""
