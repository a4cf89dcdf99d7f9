"""Totals of all pages of a mirror, and their form in a mark of the catalog (`marks.HELD`).

This module knows no SQL and imports nothing slow, because runs without work use it too.
"""

from __future__ import annotations

import re
from typing import NamedTuple

#: Possible counts of numbers; earlier releases had no linked files.
_LENGTHS = (3, 4)
_NUMBER = re.compile(r"[0-9]{1,19}")


class Totals(NamedTuple):
    """Totals of all pages."""

    projects: int = 0
    files: int = 0
    size: int = 0  #: bytes
    linked: int = 0  #: files that pages link to at the upstream


def parse(value: str | None) -> Totals:
    """Parse the mark. Without a mark, all totals are 0. Raises `ValueError`."""
    if not value:
        return Totals()
    found = numbers(value)
    if len(found) not in _LENGTHS:
        raise ValueError(f"{value[:60]!r} has a wrong count of numbers")
    return Totals(*found)


def numbers(value: str) -> tuple[int, ...]:
    """Parse numbers that are separated by spaces. Raises `ValueError`."""
    parts = value.split()
    if not all(map(_NUMBER.fullmatch, parts)):
        raise ValueError(f"{value[:60]!r} contains something other than numbers")
    return tuple(map(int, parts))
