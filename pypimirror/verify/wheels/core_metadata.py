"""Reading a wheel's core metadata, the METADATA file that PEP 658 serves beside the wheel.

It can unpack all that `pypimirror.verify.archives.zips` can, such as members that are packed by
zstd; `zipfile` knows these only from Python 3.14 on.
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

#: Bytes: far more than any real METADATA has, and still harmless.
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
    """Return the METADATA of the wheel at `path`; None if the wheel does not have exactly one.

    The bytes of the wheel are proven before, so a strange wheel comes from its publisher. It is
    served unchanged, without core metadata. Raises `OSError`.
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
