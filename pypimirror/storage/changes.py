"""The list of what a run changed in the mirror root: for rsync, the purge of a CDN, air gaps.

In the order in which it happened, so that whoever repeats it in that order keeps the promises on
the way: bytes come before pages and go after them. A path may come more than once, and one that is
not there any more goes further down.

A change is noted before it is made, in a journal in the private directory, which becomes the list
when the run ends. The journal of a run that died stays: the next list begins with it. So whoever
reads the list after each run, however that ended, misses no change; some may be named that were not
made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from pypimirror.storage import links
from pypimirror.system import regular

#: How a change is written: a path to a line, a path and a NUL, or an object in JSON to a line.
Form = Literal["lines", "nul", "json"]
Change = Literal["added", "changed", "removed"]

_WRITTEN: dict[str, Callable[[Change, str], str]] = {
    "lines": lambda _, path: f"{path}\n",
    "nul": lambda _, path: f"{path}\0",
    "json": lambda change, path: json.dumps({"change": change, "path": path}) + "\n",
}


class Changes:
    """A list in the making. All methods raise `OSError`."""

    def __init__(self, path: Path, form: Form, journal: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")  # whoever reads it too early finds no older list
        self._path, self.journal = path, journal
        self._written = _WRITTEN[form]
        if not regular.is_here(str(journal)):
            journal.unlink(missing_ok=True)
        links.part([journal])
        self._stream = journal.open("a", encoding="utf-8")
        self._stream.write("\n")  # what is before it may have been cut off

    def add(self, change: Change, path: str) -> None:
        """Note a change of `path`, which is below the mirror root; it is made after `flush`."""
        self._stream.write(_WRITTEN["json"](change, path))

    def flush(self) -> None:
        """Hand over to the system what was noted so far."""
        self._stream.flush()

    def close(self) -> None:
        """Write the list; the journal has served its purpose then."""
        self._stream.close()
        with self._path.open("w", encoding="utf-8") as stream:
            stream.writelines(self._written(change, path) for change, path in self._noted())
        self.journal.unlink()

    def _noted(self) -> Iterator[tuple[Change, str]]:
        with self.journal.open(encoding="utf-8") as stream:
            for line in stream:
                try:
                    entry = json.loads(line)
                except ValueError:  # cut off, or the beginning of a run
                    continue
                yield entry["change"], entry["path"]
