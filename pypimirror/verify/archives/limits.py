"""Bounds on what reading an archive may cost, and the error that all readers raise.

No format lives here. An archive counts as hostile until it was read to its end. So every reader
asks the meter before it believes a number, and works through buffers of fixed size. Nothing that a
reader keeps grows with the contents; `max_entries` bounds what grows with the number of entries.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec import Struct

from pypimirror.domain.filenames import printable
from pypimirror.domain.model import PypimirrorError, Reason

Clock = Callable[[], float]


class Limits(Struct, frozen=True):
    """How much an archive may hold, and how much reading it may cost. All bounds are inclusive."""

    #: Bytes of all contents after unpacking. The largest wheels unpack to some 10 GB.
    max_unpacked: int = 64 << 30
    #: Unpacked bytes for each packed byte. Source code and binaries stay below 20, tables of
    #: zeros below 100; bombs start at the 1,000 that deflate can do.
    max_ratio: int = 200
    #: Unpacked bytes below which the ratio does not matter: reading them takes a second or two.
    ratio_floor: int = 256 << 20
    #: Entries, and members of a compressed stream. The largest wheels have about 50,000.
    max_entries: int = 250_000
    #: Seconds of computing that any archive gets, and more for each packed megabyte: bzip2, the
    #: slowest, takes 0.1 to 0.5 seconds for one.
    min_seconds: float = 60.0
    seconds_per_megabyte: float = 2.0
    #: Seconds of computing that the largest archive gets.
    max_seconds: float = 3600.0
    #: Bytes of METADATA, PKG-INFO and their like; real ones stay below 1 MB.
    max_metadata: int = 16 << 20
    #: Bytes that a list of entries may take in memory: a zip's directory, a wheel's RECORD.
    max_directory: int = 128 << 20
    #: Bytes of memory that a stream may demand for its window: xz -9 wants 65 MiB, zstd
    #: --ultra 128 MiB.
    max_window: int = 256 << 20


class ArchiveError(PypimirrorError):
    """An archive is refused. The message ends a sentence that starts with the file."""

    def __init__(self, message: str, reason: Reason = Reason.BAD_ARCHIVE) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason


class Meter:
    """Counts what one archive costs, and raises `ArchiveError` (TOO_LARGE) if it is too much."""

    def __init__(self, limits: Limits, packed: int, clock: Clock = time.thread_time) -> None:
        self.limits = limits
        self.entries = 0
        self.unpacked = 0
        self._packed = packed
        self._members = 0
        self._clock = clock
        by_size = limits.min_seconds + limits.seconds_per_megabyte * packed / 1e6
        self._seconds = min(limits.max_seconds, by_size)
        self._deadline = clock() + self._seconds
        by_ratio = max(limits.ratio_floor, packed * limits.max_ratio)
        self._most = min(limits.max_unpacked, by_ratio)

    def count(self, size: int) -> None:
        """Count bytes that were just unpacked."""
        self.unpacked += size
        if self.unpacked > self._most:
            self.refuse(self.unpacked)
        self.tick()

    def announced(self, size: int) -> None:
        """Refuse an archive that announces too many bytes."""
        if size > self._most:
            self.refuse(size)

    def refuse(self, size: int) -> None:
        """Refuse an archive that unpacks to at least `size` bytes."""
        raise ArchiveError(
            f"unpacks to {size} bytes or more from {self._packed}, where {self._most} are allowed",
            Reason.TOO_LARGE,
        )

    def entry(self) -> None:
        """Count an entry."""
        self.entries += 1
        if self.entries > self.limits.max_entries:
            raise ArchiveError(f"has more than {self.limits.max_entries} entries", Reason.TOO_LARGE)
        self.tick()

    def member(self) -> None:
        """Count a member of a compressed stream. Even an empty one costs time."""
        self._members += 1
        if self._members > self.limits.max_entries:
            raise ArchiveError(
                f"has more than {self.limits.max_entries} compressed streams in it",
                Reason.TOO_LARGE,
            )

    def tick(self) -> None:
        """Refuse an archive that has taken too much time."""
        if self._clock() > self._deadline:
            raise ArchiveError(
                f"takes longer than {self._seconds:.0f} seconds to read", Reason.TOO_LARGE
            )

    def held(self, size: int, what: str, most: int) -> None:
        """Refuse to hold more than `most` bytes at once for `what`."""
        if size > most:
            raise ArchiveError(
                f"has {what} of {size} bytes, where {most} are allowed", Reason.TOO_LARGE
            )


def shown(name: str | bytes) -> str:
    """Return an entry's name in a form for messages."""
    text = name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name
    return repr(printable(text))
