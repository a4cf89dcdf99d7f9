"""Rewrites a lock with the addresses of this mirror; digests and everything else stay unchanged.

A lock has addresses of files and of indexes. The address of a file is replaced if the mirror has a
file with the digest of the lock. Every address of an index is replaced. The text itself is edited,
so every other byte stays.

If the mirror lacks a file that a checked environment needs, this is a gap, and there is no new
lock. Files for other environments may be missing; their addresses stay, and are counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from pypimirror.check import locked
from pypimirror.check.outcome import Gap
from pypimirror.check.shelf import Shelf
from pypimirror.check.targets import Target
from pypimirror.select.locks.lock import Lock

_ADDRESS = r"https?://[^\s\"']*"


@dataclass(frozen=True)
class Relocked:
    """A rewritten lock."""

    text: str
    files: int  #: replaced addresses of files
    indexes: int  #: replaced addresses of indexes
    kept: int  #: addresses of files that stay, because the mirror lacks them
    gaps: tuple[Gap, ...] = ()  #: files that an environment needs and the mirror lacks


#: A pattern for the addresses of indexes, by format; the group `url` is the address.
_INDEXES: Mapping[str, re.Pattern[str]] = {
    "uv.lock": re.compile(rf'\b(?:registry|index) = "(?P<url>{_ADDRESS})"'),
    "pylock.toml": re.compile(rf'^index = "(?P<url>{_ADDRESS})"', re.M),
    "poetry.lock": re.compile(
        rf'^\[package\.source\]\ntype = "legacy"\nurl = "(?P<url>{_ADDRESS})"', re.M
    ),
    "Pipfile.lock": re.compile(rf'^ {{12,}}"url": "(?P<url>{_ADDRESS})"', re.M),
    "requirements.txt": re.compile(
        rf"^\s*(?:--(?:extra-)?index-url|-i)(?:\s+|=)[\"']?(?P<url>{_ADDRESS})", re.M
    ),
}


def relock(
    shelf: Shelf, lock: Lock, text: str, targets: Sequence[Target], index: str, files: str
) -> Relocked:
    """Return a lock's text with the addresses of this mirror.

    `index` is the address of the mirror's simple index, `files` the prefix of paths below the
    mirror root.
    """
    gaps = [gap for each in locked.check(shelf, lock, "", targets) for gap in each.gaps]
    ours, kept = _addresses(shelf, lock, files)
    changed = 0

    def theirs(found: re.Match[str]) -> str:
        nonlocal changed
        new = ours.get(found[0])
        changed += new is not None
        return found[0] if new is None else new

    text = re.sub(_ADDRESS, theirs, text)
    pattern = _INDEXES.get(lock.format)
    text, indexes = (text, 0) if pattern is None else pattern.subn(_ours(index), text)
    return Relocked(text, changed, indexes, kept, tuple(dict.fromkeys(gaps)))


def _addresses(shelf: Shelf, lock: Lock, files: str) -> tuple[dict[str, str], int]:
    """Return the mirror's address for each address of a file, and how many files have none."""
    found: dict[str, str] = {}
    kept = 0
    for release in lock.releases:
        offer = shelf.offer(release.project)
        held = {file.filename: file for file in offer.files} if offer else {}
        for file in release.files:
            if file.url is None:
                continue
            here = held.get(file.filename or "")
            if here is not None and (not file.digests or locked.is_of(shelf, here, file.digests)):
                found[file.url] = files + quote(here.path)
            else:
                kept += 1
    return found, kept


def _ours(index: str) -> Callable[[re.Match[str]], str]:
    """Return a function that replaces the address of an index, and keeps its last slash."""

    def put(found: re.Match[str]) -> str:
        begin, end = (position - found.start() for position in found.span("url"))
        new = index if found["url"].endswith("/") else index.rstrip("/")
        return found[0][:begin] + new + found[0][end:]

    return put
