"""The list of changes that a run made in the mirror root: for rsync, for purging a CDN, for air
gaps.

Changes are listed in the order in which they happened. If they are repeated in that order, the copy
keeps the promises too: bytes come before pages and go after them. A path may appear more than once.
A listed path that no longer exists is in the list again, as removed.

Each change is first written to a journal in the private directory. The journal becomes the list
when the run ends. If a run dies, its journal stays, and the next list begins with it. So readers
that read the list after every run miss no change. The list may contain changes that were not made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from pypimirror.storage import links
from pypimirror.system import regular

#: The form of a change: a path and a line end, a path and a NUL, or a JSON object on a line.
Form = Literal["lines", "nul", "json"]
Change = Literal["added", "changed", "removed"]

_WRITTEN: dict[str, Callable[[Change, str], str]] = {
    "lines": lambda _, path: f"{path}\n",
    "nul": lambda _, path: f"{path}\0",
    "json": lambda change, path: json.dumps({"change": change, "path": path}) + "\n",
}


class Changes:
    """A list of changes while it is made. All methods raise `OSError`."""

    def __init__(self, path: Path, form: Form, journal: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")  # early readers must not find an older list
        self._path, self.journal = path, journal
        self._written = _WRITTEN[form]
        if not regular.is_here(str(journal)):
            journal.unlink(missing_ok=True)
        links.part([journal])
        self._stream = journal.open("a", encoding="utf-8")
        self._stream.write("\n")  # the last line of a dead run may be incomplete

    def add(self, change: Change, path: str) -> None:
        """Note a change of `path`, below the mirror root. The caller makes the change after
        `flush`.
        """
        self._stream.write(_WRITTEN["json"](change, path))

    def flush(self) -> None:
        """Pass the notes so far to the operating system."""
        self._stream.flush()

    def close(self) -> None:
        """Write the list and remove the journal."""
        self._stream.close()
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
