"""The locks of `[select] locks`: which files they are, and what of them is selected.

A lock selects the files that it names. Where Pythons or platforms are declared, it selects those of
the releases that one of these environments needs. The rules of `[select]` then decide on each file
as on any other, and `exclude` wins.
"""

from __future__ import annotations

import glob
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from packaging.markers import Marker, UndefinedEnvironmentName
from packaging.specifiers import SpecifierSet

from pypimirror.domain import bounded
from pypimirror.select.entries import Entry
from pypimirror.select.environments import Environments
from pypimirror.select.locks import registry
from pypimirror.select.locks.lock import Lock, LockedRelease, LockError
from pypimirror.select.patterns import EntryError

#: The directory, in the private one, of what was resolved (`pypimirror.pipeline.resolution`).
RESOLVED = "resolved"

_ESCAPED = re.compile(r"\[([*?\[])\]")

log = logging.getLogger("pypimirror")


def read(patterns: Iterable[str]) -> list[Lock]:
    """Read the locks that globs name, each once; raises `EntryError`."""
    try:
        return [registry.read(path) for path in paths(patterns)]
    except LockError as error:
        raise EntryError(f"{error}") from error


def paths(patterns: Iterable[str]) -> list[Path]:
    """Return the files that globs name, each once; raises `EntryError` where one names none."""
    return list(dict.fromkeys(path for pattern in patterns for path in _paths(pattern)))


def _paths(pattern: str) -> list[Path]:
    literal = Path(_ESCAPED.sub(r"\1", pattern))
    if not glob.has_magic(_ESCAPED.sub("", pattern)):
        return [literal]
    found = sorted(Path(each) for each in glob.glob(pattern, recursive=True))  # noqa: PTH207
    found = [path for path in found if not path.is_dir()]
    if not found:
        raise EntryError(
            f"select.locks: {str(literal)!r} matches no file; name a lock that is there"
        )
    return found


def kept(directory: Path) -> list[Lock]:
    """Return what was resolved; nothing if any of it cannot be read: it will be resolved anew."""
    try:
        return [registry.read(path) for path in sorted(directory.glob("pylock.*.toml"))]
    except LockError:
        return []


def tell(locks: Iterable[Lock]) -> None:
    """Tell what locks have that no index has, once for each lock."""
    for lock in locks:
        for note in lock.notes:
            log.warning("%s", note)


def entries(locks: Iterable[Lock], environments: Environments) -> Iterator[Entry]:
    """Yield an entry for each release that the environments need."""
    for lock in locks:
        yield from (_entry(release) for release in _needed(lock, environments))


def _needed(lock: Lock, environments: Environments) -> Iterable[LockedRelease]:
    if not (environments.pythons or environments.platforms):
        return lock.releases
    asked = " ".join(sorted({str(marker) for marker in lock.markers()}))
    return lock.needed_by([_meeting(dict(facts)) for _, facts in environments.facts_for(asked)])


def _meeting(facts: dict[str, str]) -> Callable[[Marker], bool]:
    """Return what tells whether an environment meets a marker."""

    def meets(marker: Marker) -> bool:
        try:
            return marker.evaluate(facts)
        except UndefinedEnvironmentName:  # it asks for what no environment tells
            return True

    return meets


def _entry(release: LockedRelease) -> Entry:
    version = bounded.version(release.version) if release.version is not None else None
    return Entry(
        f"{release}",
        release.source,
        name=release.project,
        versions=SpecifierSet(f"=={version}") if version is not None else None,
        hashes=frozenset(d for f in release.files if f.filename is None for d in f.digests),
        files=tuple(file for file in release.files if file.filename is not None),
        is_locked=True,
    )
