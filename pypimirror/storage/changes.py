"""The list of changes that a run made in the mirror root: for rsync, for purging a CDN, for air
gaps.

Changes are listed in the order in which they happened. If they are repeated in that order, the copy
keeps the promises too: bytes come before pages and go after them. A path may appear more than once.
A listed path that no longer exists is in the list again, as removed.

Each change is first written to a journal in the private directory, by all processes of a run. The
journal becomes the list when the run ends. If a run dies, its journal stays, and the next list
begins with it. So readers that read the list after every run miss no change. The list may contain
changes that were not made.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from pypimirror.storage import hard_links
from pypimirror.system import regular

#: The form of a change: a path and a line end, a path and a NUL, or a JSON object on a line.
Form = Literal["lines", "nul", "json"]
Change = Literal["added", "changed", "removed"]

_WRITTEN: dict[str, Callable[[Change, str], str]] = {
    "lines": lambda _, path: f"{path}\n",
    "nul": lambda _, path: f"{path}\0",
    "json": lambda change, path: json.dumps({"change": change, "path": path}) + "\n",
}


class Journal:
    """The notes on changes. Several processes may write to one. All methods raise `OSError`."""

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        # The system appends each write as a whole, so lines of two processes do not mix.
        self._descriptor = os.open(
            journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644
        )
        self._lock = threading.Lock()
        self._notes = ["\n"]  # the last line of a dead process may be incomplete

    def add(self, change: Change, path: str) -> None:
        """Note a change of `path`, below the mirror root. The caller makes the change after
        `flush`.
        """
        with self._lock:
            self._notes.append(_WRITTEN["json"](change, path))

    def flush(self) -> None:
        """Pass the notes so far to the operating system."""
        with self._lock:
            data = memoryview("".join(self._notes).encode())
            self._notes.clear()
            while data:
                data = data[os.write(self._descriptor, data) :]

    def close(self) -> None:
        """Close the journal."""
        self.flush()
        os.close(self._descriptor)


class Changes(Journal):
    """A list of changes while it is made, by the process that leads the run."""

    def __init__(self, path: Path, form: Form, journal: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")  # early readers must not find an older list
        self._path = path
        self._written = _WRITTEN[form]
        if not regular.is_here(str(journal)):
            journal.unlink(missing_ok=True)
        hard_links.part([journal])
        super().__init__(journal)

    def close(self) -> None:
        """Write the list and remove the journal."""
        super().close()
        with self._path.open("w", encoding="utf-8") as stream:
            stream.writelines(self._written(change, path) for change, path in self._noted())
        self.journal.unlink()

    def _noted(self) -> Iterator[tuple[Change, str]]:
        with self.journal.open(encoding="utf-8") as stream:
            for line in stream:
                try:
                    entry = json.loads(line)
                except ValueError:  # an incomplete line, or the empty line at the begin of a run
                    continue
                yield entry["change"], entry["path"]
