"""Notes which files were sent, and reports them now and then."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import gevent

from pypimirror.domain.filenames import SIDECARS

#: Seconds between two messages that say which files were sent.
USED = 60.0
#: Most files in such a message.
MOST_USED = 20_000

Files = list[tuple[str, str]]  #: projects and file names


class Usage:
    """The files that were sent. `tell` returns whether somebody got the report."""

    def __init__(self, tell: Callable[[Files], bool]) -> None:
        self._tell = tell
        self._used: set[tuple[str, str]] = set()

    def note(self, parts: list[str]) -> None:
        """Note that the file `packages/<parts>` was sent."""
        if len(parts) == 2 and not parts[1].endswith(SIDECARS):
            self.add([(parts[0], parts[1])])

    def add(self, files: Iterable[tuple[str, str]]) -> None:
        """Note that files were sent."""
        if len(self._used) < MOST_USED:
            self._used.update(files)

    def tell_often(self) -> None:
        """Report now and then, for ever."""
        while True:
            gevent.sleep(USED)
            self.tell()

    def tell(self) -> None:
        """Report now, if files were sent."""
        if self._used and self._tell(sorted(self._used)):
            self._used.clear()
