"""The list of what a run changed in the mirror root: for rsync, the purge of a CDN, air gaps.

In the order in which it happened, so that whoever repeats it in that order keeps the promises on
the way: bytes come before pages and go after them. A path may come more than once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

#: How a change is written: a path to a line, a path and a NUL, or an object in JSON to a line.
Form = Literal["lines", "nul", "json"]
Change = Literal["added", "changed", "removed"]

_WRITTEN: dict[str, Callable[[Change, str], str]] = {
    "lines": lambda _, path: f"{path}\n",
    "nul": lambda _, path: f"{path}\0",
    "json": lambda change, path: json.dumps({"change": change, "path": path}) + "\n",
}


class Changes:
    """A list in the making. What a killed run did is in it as far as its last `flush`."""

    def __init__(self, path: Path, form: Form) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = path.open("w", encoding="utf-8")
        self._written = _WRITTEN[form]

    def add(self, change: Change, path: str) -> None:
        """Note a change of `path`, which is below the mirror root. Raises `OSError`."""
        self._stream.write(self._written(change, path))

    def flush(self) -> None:
        """Hand over to the system what was noted so far. Raises `OSError`."""
        self._stream.flush()

    def close(self) -> None:
        """End the list. Raises `OSError`."""
        self._stream.close()
