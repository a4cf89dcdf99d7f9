"""Find PKG-INFO in the bytes of an sdist that is here, for its summary and description.

It uses the readers of the proof, and stops at the first PKG-INFO that is at the top or in a
directory there. So only a small part of most sdists is unpacked, and never more than a bound.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable

from pypimirror.domain.formats import format_of
from pypimirror.verify.archives.limits import ArchiveError, Limits, Meter
from pypimirror.verify.dependencies import walk

#: Most bytes of an sdist that is read, of its unpacked part, and of a PKG-INFO.
MOST, _UNPACKED, _LONGEST = 4 << 20, 16 << 20, 2 << 20
_ENTRIES, _SECONDS = 5_000, 1.0

_WANTED = re.compile(r"(?:[^/]+/)?PKG-INFO")


class _FoundError(Exception):
    """PKG-INFO was read. Ends the walk."""


def is_sdist(filename: str) -> bool:
    """Whether a file is an sdist of a kind that can be read."""
    form = format_of(filename)
    return form is not None and form.type == "sdist" and form.container in ("tar", "zip")


def find(body: bytes, filename: str) -> bytes | None:
    """Return PKG-INFO of an sdist; None if it has none, or only behind too many bytes."""
    form = format_of(filename)
    if form is None or not is_sdist(filename):
        return None
    limits = Limits(
        max_unpacked=_UNPACKED, max_entries=_ENTRIES, min_seconds=_SECONDS, seconds_per_megabyte=0
    )
    found: list[bytes] = []

    def visit(path: str) -> Callable[[bytes], object] | None:
        if found:
            raise _FoundError
        return take if _WANTED.fullmatch(path) else None

    def take(piece: bytes) -> None:
        found.append(piece)
        if sum(map(len, found)) > _LONGEST:
            raise ArchiveError(f"has a PKG-INFO of more than {_LONGEST} bytes")

    try:
        walk(io.BytesIO(body), len(body), form, visit, Meter(limits, len(body)))
    except _FoundError:
        pass
    except ArchiveError:
        return None
    return b"".join(found) or None
