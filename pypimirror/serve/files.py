"""Open files of the mirror root, and tell readers which version they got.

Only regular files below `simple/`, `packages/` and `pypi/` are opened, no matter what the path or a
symbolic link says; `pypimirror.system.regular` decides what a regular file is. This module knows
nothing of HTTP but the values of two headers.

**ETags.** A reader must never be told that an old page is still good.

* A page's ETag is the sha256 of its bytes. Time stamps are not enough: two versions of a page can
  share one tick of the file system's clock, inode numbers are reused at once, and a backup or rsync
  restores old times. A digest is also the same on every replica of a mirror. Large pages (the root
  index) are hashed once per version: see `_remembered`.
* A package never changes under its name (a changed digest is refused), and may have gigabytes. Its
  ETag is made of time, size and inode, which is enough to notice a repaired file.

**Last-Modified** has whole seconds. A page has none until the second of its change is over, because
another change could follow within that second.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from errno import ELOOP, ENAMETOOLONG
from functools import lru_cache
from io import FileIO
from pathlib import Path

from pypimirror.domain import moments
from pypimirror.serve.tree import is_plain
from pypimirror.system import clock, regular

#: Pages from this size on are hashed once per version. Smaller ones are hashed each time, which
#: costs less than reading them.
_LARGE = 256 * 1024

#: Nanoseconds after which two changes have different time stamps.
_SETTLED = 2_000_000_000

_remembered: dict[tuple[int, ...], str] = {}
_REMEMBERED_MOST = 256

_SERIAL_JSON = re.compile(rb'\{(?:"meta":\{"_last-serial"|"last_serial"):(\d{1,19}),')
_SERIAL_HTML = re.compile(rb"<!--SERIAL (\d{1,19})-->\n\Z")


@dataclass(frozen=True)
class OpenedFile:
    """A regular file of the mirror root, open, with its state when it was opened."""

    handle: FileIO
    stat: os.stat_result

    @property
    def size(self) -> int:
        """The size in bytes."""
        return self.stat.st_size

    @property
    def modified(self) -> datetime:
        """The time of the last change in whole seconds, as in HTTP."""
        return moments.dated(self.stat.st_mtime_ns // 1_000_000_000)

    def modified_is_past(self) -> bool:
        """Whether that time has passed; HTTP allows no Last-Modified in the future."""
        return clock.is_past(self.stat.st_mtime, clock.now())

    def modified_is_settled(self) -> bool:
        """Whether no later change can have the same `modified`."""
        second_is_over = (self.stat.st_mtime_ns // 1_000_000_000 + 1) * 1_000_000_000
        return time.time_ns() > second_is_over + 50_000_000  # clock ticks are up to 10 ms late

    def until(self, end: int) -> None:
        """Do nothing: unread bytes cost nothing."""

    def state_etag(self) -> str:
        """An ETag from time, size and inode, for files that do not change."""
        return f"{self.stat.st_mtime_ns:x}-{self.stat.st_size:x}-{self.stat.st_ino:x}"

    def content_etag(self) -> str:
        """An ETag from the bytes."""
        state = self.stat
        key = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
        if (etag := _remembered.get(key)) is None:
            etag = hashlib.file_digest(self.handle, "sha256").hexdigest()
            self.handle.seek(0)
            # A file that has just changed could change again with the same time stamp.
            if self.size >= _LARGE and time.time_ns() - state.st_ctime_ns > _SETTLED:
                if len(_remembered) >= _REMEMBERED_MOST:
                    _remembered.clear()
                _remembered[key] = etag
        return etag

    def serial(self) -> str | None:
        """The serial that our page states, read from its beginning or end."""
        start, end = os.pread(fd := self.handle.fileno(), 64, 0), max(0, self.size - 64)
        return serial_in(start, os.pread(fd, 64, end))


def serial_in(start: bytes, end: bytes) -> str | None:
    """Return the serial that is in the first or the last bytes of a page of ours."""
    found = _SERIAL_JSON.match(start) or _SERIAL_HTML.search(end)
    return found[1].decode() if found else None


@lru_cache(16)  # there are few, and resolving one takes as long as sending a page
def directory(root: str) -> Directory:
    """Return a directory whose path leads to the same place as long as this process lives."""
    return Directory(Path(root))


class Directory:
    """A mirror root in a directory; see `tree.Tree`."""

    def __init__(self, root: Path) -> None:
        self.shown = str(root.resolve())

    def path(self, top: str, *parts: str) -> str:
        """Return the path of `root/top/...`."""
        return "/".join((self.shown, top, *parts))

    def state(self, top: str, *parts: str) -> os.stat_result:
        """Return the state of the file `root/top/...`; all parts are plain. Raises `OSError`."""
        return regular.status(self.path(top, *parts), self.shown)

    def open(self, top: str, *parts: str) -> OpenedFile | None:
        """Open `root/top/...` for reading; None if there is no such file, or it must not be
        served. Raises `OSError` if the file cannot be read.
        """
        if not all(map(is_plain, parts)):
            return None
        try:
            descriptor, state = regular.open_file(self.path(top, *parts), self.shown)
        except (FileNotFoundError, NotADirectoryError):
            return None  # also for something that is no file: a symbolic link, a FIFO
        except OSError as error:
            if error.errno in (ENAMETOOLONG, ELOOP):
                return None
            raise
        return OpenedFile(FileIO(descriptor, "rb"), state)

    def names_present(self, top: str, *parts: str, names: Iterable[str]) -> frozenset[str]:
        """Which of `names` are in the directory `root/top/...`."""
        if not all(map(is_plain, parts)):
            return frozenset()
        directory = self.path(top, *parts)
        return frozenset(
            name for name in names if regular.is_here(f"{directory}/{name}", self.shown)
        )

    def forget(self, top: str, *parts: str) -> None:
        """Do nothing: a directory is looked at each time."""

    def address(self, top: str, *parts: str) -> None:
        """A directory has no other address."""
