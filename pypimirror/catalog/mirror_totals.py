"""What is on all pages of a mirror, and how a mark of the catalog (`marks.HELD`) says it.

Knows no SQL, and imports nothing that is slow: runs that find nothing to do tell it, too.
"""

from __future__ import annotations

import re
from typing import NamedTuple

#: How many numbers it has; earlier releases had no linked files.
_LENGTHS = (3, 4)
_NUMBER = re.compile(r"[0-9]{1,19}")


class Totals(NamedTuple):
    """What is on all pages."""

    projects: int = 0
    files: int = 0
    size: int = 0  #: bytes
    linked: int = 0  #: files that are at the upstream


def parse(value: str | None) -> Totals:
    """Read the mark; where there is none, nothing is held. Raises `ValueError`."""
    if not value:
        return Totals()
    found = numbers(value)
    if len(found) not in _LENGTHS:
        raise ValueError(f"{value[:60]!r} is not what a mirror holds")
    return Totals(*found)


def numbers(value: str) -> tuple[int, ...]:
    """Read numbers of things, with a space between them. Raises `ValueError`."""
    parts = value.split()
    if not all(map(_NUMBER.fullmatch, parts)):
        raise ValueError(f"{value[:60]!r} has something else than numbers")
    return tuple(map(int, parts))
