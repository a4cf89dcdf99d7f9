"""The common form of all lock files: projects, versions, files, digests.

The rules for every format:

* A file has a name and digests. If a format has no file names, it has a version and digests.
* Packages that no index has (git, a path, a direct address, a member of the workspace) are ignored,
  and noted once for each lock.
* Unreadable parts are errors with file, line and cause. Nothing is guessed.

If a lock is restricted to environments, the restriction leaves in too much rather than too little:
all extras and dependency groups count as requested.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct
from packaging.markers import InvalidMarker, Marker

from pypimirror.domain.filenames import printable
from pypimirror.domain.model import ALGORITHMS, ProjectName, PypimirrorError

#: An algorithm, and a digest in lower-case hex.
Digest: TypeAlias = tuple[str, str]

_DIGEST = re.compile(r"(?P<algorithm>[A-Za-z0-9_]+)[:=](?P<hex>\S*)")
_HEX = re.compile(r"[0-9a-f]+")

# Markers on extras and groups. uv also writes sets of conflicting extras in this way.
_CHOICE = re.compile(
    r'"[^"]*" (?:not )?in (?:extras|dependency_groups)\b'
    r'|\bextra (?:==|!=|in|not in) "[^"]*"|"[^"]*" (?:==|!=|in|not in) extra\b'
)
_ALWAYS = 'python_version >= "0"'


class UnreadableLockError(PypimirrorError):
    """A lock cannot be read; the message names the file, the line and the cause."""


class LockedFile(Struct, frozen=True):
    """One file of a release, or only its digests."""

    filename: str | None  #: None if the format has digests without names
    digests: frozenset[Digest] = frozenset()
    url: str | None = None  #: as in the lock
    size: int | None = None  #: bytes


class Need(Struct, frozen=True):
    """A need of a release, or of the application itself."""

    project: ProjectName
    version: str | None = None  #: None for every version in the lock
    marker: Marker | None = None


class LockedRelease(Struct, frozen=True):
    """One release that a lock names."""

    project: ProjectName
    version: str | None
    files: tuple[LockedFile, ...]  #: empty for every file of the version
    source: str  #: the lock and the line that names it
    marker: Marker | None = None  #: where the release is needed, if the format says so here
    needs: tuple[Need, ...] = ()  #: its needs, if only these say where releases are needed

    def __str__(self) -> str:
        return f"{self.project} {self.version}" if self.version else self.project


class Lock(Struct, frozen=True):
    """The contents of one lock file."""

    path: Path
    format: str  #: the common name, such as "uv.lock"
    releases: tuple[LockedRelease, ...]
    notes: tuple[str, ...] = ()  #: a sentence for each ignored part
    #: What the application needs; None if the releases have markers.
    roots: tuple[Need, ...] | None = None

    def needed(self, meets: Callable[[Marker], bool]) -> tuple[LockedRelease, ...]:
        """Return the releases that an environment needs; `meets` says which markers it meets."""
        return self.needed_by([meets])

    def needed_by(
        self, environments: Sequence[Callable[[Marker], bool]]
    ) -> tuple[LockedRelease, ...]:
        """Return the releases that any of the environments needs.

        Each environment is a function that says which markers it meets. It evaluates each marker
        once. A set of environments is a number with one bit for each.
        """
        everywhere = (1 << len(environments)) - 1
        known: dict[Marker | None, int] = {None: everywhere}

        def where(marker: Marker | None) -> int:
            if marker not in known:
                met = (each(marker) for each in environments if marker is not None)
                known[marker] = sum(1 << number for number, is_met in enumerate(met) if is_met)
            return known[marker]

        reached = [where(release.marker) if self.roots is None else 0 for release in self.releases]
        by_project = defaultdict(list)
        for number, release in enumerate(self.releases):
            by_project[release.project].append(number)
        waiting = [(need, everywhere) for need in self.roots or ()]
        while waiting:
            need, by = waiting.pop()
            for number in by_project[need.project]:
                release = self.releases[number]
                if need.version not in (None, release.version):
                    continue
                now = by & where(need.marker) & where(release.marker)
                if now & ~reached[number]:
                    reached[number] |= now
                    waiting += [(further, now) for further in release.needs]
        pairs = zip(self.releases, reached, strict=True)
        return tuple(release for release, found in pairs if found)

    def markers(self) -> Iterator[Marker]:
        """Yield every marker that decides on what an environment needs."""
        for need in self.roots or ():
            if need.marker is not None:
                yield need.marker
        for release in self.releases:
            if release.marker is not None:
                yield release.marker
            yield from (need.marker for need in release.needs if need.marker is not None)


def digest(text: str, source: object) -> Digest | None:
    """Read `sha256:…`; None if the algorithm is unknown. Raises `UnreadableLockError`.

    Messages begin with `source`.
    """
    found = _DIGEST.fullmatch(text)
    if found is None:
        raise UnreadableLockError(
            f"{source}: {printable(text, 80)!r} is no digest such as 'sha256:1f3e…'"
        )
    return digest_of(found["algorithm"], found["hex"], source)


def digest_of(algorithm: str, value: object, source: object) -> Digest | None:
    """Return a digest; None if the algorithm is unknown. Raises `UnreadableLockError`."""
    algorithm = algorithm.lower()
    length = ALGORITHMS.get(algorithm)
    hexadecimal = value.lower() if isinstance(value, str) else ""
    if length is None and _HEX.fullmatch(hexadecimal):
        return None
    if not _HEX.fullmatch(hexadecimal) or len(hexadecimal) != 2 * (length or 0):
        shown = printable(str(value), 80)
        raise UnreadableLockError(
            f"{source}: {shown!r} is no {algorithm} digest, which has "
            f"{2 * (length or 0)} hexadecimal digits; make the lock again"
        )
    return algorithm, hexadecimal


def marker(text: str, source: str) -> Marker | None:
    """Read a marker, as if every extra and group were requested; raises `UnreadableLockError`."""
    try:
        written = str(Marker(text))
    except InvalidMarker as error:
        cause = str(error).splitlines()[0]
        raise UnreadableLockError(
            f"{source}: {printable(text, 80)!r} is no marker: {cause}"
        ) from error
    chosen = _CHOICE.sub(_ALWAYS, written)
    return None if chosen == _ALWAYS else Marker(chosen)


def any_marker(texts: Sequence[str], source: str) -> Marker | None:
    """Read alternative markers in the same way; None if one of them is always met."""
    found = [marker(text, source) for text in texts]
    met = [str(each) for each in found if each is not None]
    if len(met) < len(found) or not met:
        return None
    return Marker(" or ".join(f"({text})" for text in met))
