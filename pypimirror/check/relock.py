"""A lock with addresses of this mirror: the digests, and all else, stay as they are.

Locks hold addresses of two kinds: of files, and of indexes. A file's address is replaced where the
mirror holds the very file, by the digest that the lock names. Every address of an index becomes
the mirror's. All is done in the text, so every other byte stays.

What an environment needs that is checked, and the mirror does not hold, is a gap: there is no new
lock then. Files for other environments may be missing; their addresses stay, and are counted.
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
    """What became of a lock."""

    text: str
    files: int  #: addresses of files that are this mirror's now
    indexes: int  #: addresses of indexes that are
    kept: int  #: addresses of files that stay, since the mirror does not hold them
    gaps: tuple[Gap, ...] = ()  #: what an environment needs that is not here


#: Where the address of an index stands, by the name of the format: the group `url`.
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
    """Return a lock's text with addresses of this mirror.

    `index` is the mirror's simple index, `files` stands before paths below the mirror root.
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
    """Return the mirror's address of each that the lock has, and how many have none."""
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
    """Return what puts the mirror's index in the place of another, its last slash as it is."""

    def put(found: re.Match[str]) -> str:
        begin, end = (position - found.start() for position in found.span("url"))
        new = index if found["url"].endswith("/") else index.rstrip("/")
        return found[0][:begin] + new + found[0][end:]

    return put
