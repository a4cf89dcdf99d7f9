"""Reading a wheel's core metadata, the METADATA file that PEP 658 serves beside the wheel.

What the readers of `pypimirror.verify.archives.zips` can unpack, this one can too: members that are
packed by zstd as well, which `zipfile` knows since Python 3.14.
"""

from __future__ import annotations

import lzma
import re
import struct
import sys
import zlib
from pathlib import Path

from pypimirror.system import regular

if sys.version_info >= (3, 14):
    import zipfile

    from compression import zstd
else:
    from backports import zstd
    from backports.zstd import zipfile

#: Bytes; far beyond any real METADATA, far below what hurts.
_MAX_METADATA = 16 << 20

_METADATA = re.compile(r"[^/]+\.dist-info/METADATA")

_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    zstd.ZstdError,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    NotImplementedError,
    ValueError,
)


def read_metadata(path: Path) -> bytes | None:
    """Return the METADATA of the wheel at `path`; None where it cannot be told which that is.

    The bytes of the wheel are proven before this is asked, so that a strange wheel is the
    publisher's doing: it is served as it is, without core metadata. Raises `OSError`.
    """
    file = regular.stream(str(path))
    try:
        with file, zipfile.ZipFile(file) as archive:
            found = [info for info in archive.infolist() if _METADATA.fullmatch(info.filename)]
            if len(found) != 1 or found[0].file_size > _MAX_METADATA:
                return None
            with archive.open(found[0]) as stream:
                content = stream.read(_MAX_METADATA + 1)
    except _BROKEN:
        return None
    return content if len(content) <= _MAX_METADATA else None
