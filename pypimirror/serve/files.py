"""Opening files of the mirror root, and saying which version of a file a reader got.

Nothing but regular files below `simple/`, `packages/` and `pypi/` is ever opened, whatever the path
or a symbolic link says: what a file is, is said in `pypimirror.system.regular`. No HTTP here beyond
the values of two headers.

**ETags.** A reader must never be told that an old page is still good.

* A page's ETag is the sha256 of its bytes. Time stamps would not do: pages are replaced by new
  files within one tick of the file system's clock, inode numbers are used again at once, and a
  backup or rsync brings old times back. It is also the same on every replica of a mirror. Large
  pages (the root index) are hashed once per version: see `_remembered`.
* A package never changes under its name (a changed digest is refused), and may have gigabytes. Its
  ETag is time, size and inode: enough to tell a file that was repaired.

**Last-Modified** has whole seconds. It is left out for pages until the second of the change is
over, for another change could follow within it.
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
from io import FileIO
from pathlib import Path

from pypimirror.domain import moments
from pypimirror.system import clock, regular

#: Pages from this size on are hashed once per version; smaller ones each time, which costs less
#: than reading them.
_LARGE = 256 * 1024

#: Nanoseconds after which a change can be told from the one before by its time stamp.
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
        """Bytes."""
        return self.stat.st_size

    @property
    def modified(self) -> datetime:
        """When it was written, in whole seconds, as HTTP has it."""
        return moments.dated(self.stat.st_mtime_ns // 1_000_000_000)

    def modified_is_past(self) -> bool:
        """Whether it can have been written then; HTTP has no other Last-Modified."""
        return clock.is_past(self.stat.st_mtime, clock.now())

    def modified_is_settled(self) -> bool:
        """Whether no other change can have the same `modified`."""
        second_is_over = (self.stat.st_mtime_ns // 1_000_000_000 + 1) * 1_000_000_000
        return time.time_ns() > second_is_over + 50_000_000  # clock ticks are up to 10 ms late

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
            # A file that was changed just now could change again and look the same.
            if self.size >= _LARGE and time.time_ns() - state.st_ctime_ns > _SETTLED:
                if len(_remembered) >= _REMEMBERED_MOST:
                    _remembered.clear()
                _remembered[key] = etag
        return etag

    def serial(self) -> str | None:
        """The serial that a page of ours says, read from its edge."""
        start, end = os.pread(fd := self.handle.fileno(), 64, 0), max(0, self.size - 64)
        found = _SERIAL_JSON.match(start) or _SERIAL_HTML.search(os.pread(fd, 64, end))
        return found[1].decode() if found else None


def open_below(root: Path, top: str, *parts: str) -> OpenedFile | None:
    """Open `root/top/...` for reading; None if there is no such file, or none to be served.

    `root` is resolved; `parts` come from a client. Raises OSError if the file cannot be read.
    """
    if not all(map(_is_plain, parts)):
        return None
    try:
        descriptor, state = regular.open_file(str(root.joinpath(top, *parts)), str(root))
    except (FileNotFoundError, NotADirectoryError):
        return None  # also what is no file: a symbolic link, a FIFO
    except OSError as error:
        if error.errno in (ENAMETOOLONG, ELOOP):
            return None
        raise
    return OpenedFile(FileIO(descriptor, "rb"), state)


def names_present(root: Path, top: str, *parts: str, names: Iterable[str]) -> frozenset[str]:
    """Which of `names` are in the directory `root/top/...`."""
    if not all(map(_is_plain, parts)):
        return frozenset()
    directory = str(root.joinpath(top, *parts))
    return frozenset(name for name in names if regular.is_here(f"{directory}/{name}", str(root)))


def _is_plain(part: str) -> bool:
    """Whether `part` is one component of a path that is not hidden and does not climb."""
    return part != "" and not part.startswith(".") and "/" not in part and "\0" not in part
