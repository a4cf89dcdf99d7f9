"""What a lock file names, whatever its format: projects, versions, files, digests.

The rules for every format:

* A file is named by its name and its digests. Where a format has digests without names, by the
  version and the digests.
* What no index has (git, a path, a direct address, a member of the workspace) is passed over, and
  noted once for each lock.
* What cannot be read is an error with file, line and cause. Nothing is guessed.

Where a lock is restricted to environments, more is needed rather than less: extras and dependency
groups are all taken as asked for.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from packaging.markers import InvalidMarker, Marker

from pypimirror.domain.filenames import printable
from pypimirror.domain.model import ALGORITHMS, ProjectName, PypimirrorError

#: An algorithm, and a digest in lower-case hex.
Digest: TypeAlias = tuple[str, str]

_DIGEST = re.compile(r"(?P<algorithm>[A-Za-z0-9_]+)[:=](?P<hex>\S*)")
_HEX = re.compile(r"[0-9a-f]+")

# What markers ask of extras and groups. uv writes sets of extras that conflict in this way, too.
_CHOICE = re.compile(
    r'"[^"]*" (?:not )?in (?:extras|dependency_groups)\b'
    r'|\bextra (?:==|!=|in|not in) "[^"]*"|"[^"]*" (?:==|!=|in|not in) extra\b'
)
_ALWAYS = 'python_version >= "0"'


class LockError(PypimirrorError):
    """A lock that cannot be read; the message names the file, the line and the cause."""


@dataclass(frozen=True, slots=True)
class LockedFile:
    """One file of a release, or only the digests of it."""

    filename: str | None  #: None where the format has digests without names
    digests: frozenset[Digest] = frozenset()
    url: str | None = None  #: as the lock has it
    size: int | None = None  #: bytes


@dataclass(frozen=True, slots=True)
class Need:
    """What is needed, by a release or by the application itself."""

    project: ProjectName
    version: str | None = None  #: None for every version in the lock
    marker: Marker | None = None


@dataclass(frozen=True, slots=True)
class LockedRelease:
    """One release that a lock names."""

    project: ProjectName
    version: str | None
    files: tuple[LockedFile, ...]  #: empty for every file of the version
    source: str  #: the lock, and the line that names it
    marker: Marker | None = None  #: where it is needed, if the format says so of the release
    needs: tuple[Need, ...] = ()  #: what it needs, if the format says where only in this way

    def __str__(self) -> str:
        return f"{self.project} {self.version}" if self.version else self.project


@dataclass(frozen=True, slots=True)
class Lock:
    """What one lock file says."""

    path: Path
    format: str  #: as people call it, such as "uv.lock"
    releases: tuple[LockedRelease, ...]
    notes: tuple[str, ...] = ()  #: what was passed over, one sentence each
    roots: tuple[Need, ...] | None = None  #: what the application needs; None where markers tell

    def needed(self, meets: Callable[[Marker], bool]) -> tuple[LockedRelease, ...]:
        """Return the releases that one environment needs, which meets these markers."""
        known: dict[Marker, bool] = {}

        def is_met(marker: Marker | None) -> bool:
            if marker is None:
                return True
            if marker not in known:
                known[marker] = meets(marker)
            return known[marker]

        found = [release for release in self.releases if is_met(release.marker)]
        if self.roots is None:
            return tuple(found)
        by_project = defaultdict(list)
        for release in found:
            by_project[release.project].append(release)
        reached: set[int] = set()
        waiting = list(self.roots)
        while waiting:
            need = waiting.pop()
            for release in by_project[need.project] if is_met(need.marker) else ():
                if need.version in (None, release.version) and id(release) not in reached:
                    reached.add(id(release))
                    waiting.extend(release.needs)
        return tuple(release for release in found if id(release) in reached)

    def markers(self) -> Iterator[Marker]:
        """Yield every marker that decides on what an environment needs."""
        for need in self.roots or ():
            if need.marker is not None:
                yield need.marker
        for release in self.releases:
            if release.marker is not None:
                yield release.marker
            yield from (need.marker for need in release.needs if need.marker is not None)


def digest(text: str, source: str) -> Digest | None:
    """Read `sha256:…`; None where the algorithm is not known. Raises `LockError`."""
    found = _DIGEST.fullmatch(text)
    if found is None:
        raise LockError(f"{source}: {printable(text, 80)!r} is no digest such as 'sha256:1f3e…'")
    return digest_of(found["algorithm"], found["hex"], source)


def digest_of(algorithm: str, value: object, source: str) -> Digest | None:
    """Return a digest; None where the algorithm is not known. Raises `LockError`."""
    algorithm = algorithm.lower()
    length = ALGORITHMS.get(algorithm)
    hexadecimal = value.lower() if isinstance(value, str) else ""
    if length is None and _HEX.fullmatch(hexadecimal):
        return None
    if not _HEX.fullmatch(hexadecimal) or len(hexadecimal) != 2 * (length or 0):
        shown = printable(str(value), 80)
        raise LockError(
            f"{source}: {shown!r} is no {algorithm} digest, which has "
            f"{2 * (length or 0)} hexadecimal digits; make the lock anew"
        )
    return algorithm, hexadecimal


def marker(text: str, source: str) -> Marker | None:
    """Read a marker, as if every extra and group were asked for; raises `LockError`."""
    try:
        written = str(Marker(text))
    except InvalidMarker as error:
        cause = str(error).splitlines()[0]
        raise LockError(f"{source}: {printable(text, 80)!r} is no marker: {cause}") from error
    chosen = _CHOICE.sub(_ALWAYS, written)
    return None if chosen == _ALWAYS else Marker(chosen)


def any_marker(texts: Sequence[str], source: str) -> Marker | None:
    """Read markers of which one is enough, in the same way; None where one is always met."""
    found = [marker(text, source) for text in texts]
    met = [str(each) for each in found if each is not None]
    if len(met) < len(found) or not met:
        return None
    return Marker(" or ".join(f"({text})" for text in met))
