"""The locks of `[select] locks`: their paths, and the files that they select.

A lock selects the files that it names. If `python` or `platforms` is set, it selects only files of
releases that one of these environments needs. Then the rules of `[select]` decide on each file as
on any other, and `exclude` wins.
"""

from __future__ import annotations

import glob
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from packaging.markers import Marker, UndefinedEnvironmentName
from packaging.specifiers import SpecifierSet

from pypimirror.domain import bounded
from pypimirror.domain.filenames import printable
from pypimirror.select.entries import Entry
from pypimirror.select.environments import Environments
from pypimirror.select.locks import pylock, registry
from pypimirror.select.locks.lock import Lock, LockedRelease, UnreadableLockError
from pypimirror.select.patterns import EntryError

#: The directory for copies of the resolved locks, in the private directory
#: (`pypimirror.pipeline.resolution`).
RESOLVED = "resolved"

_ESCAPED = re.compile(r"\[([*?\[])\]")

log = logging.getLogger("pypimirror")


def read(patterns: Iterable[str]) -> list[Lock]:
    """Read the locks that match globs, each once; raises `EntryError`."""
    try:
        return [registry.read(path) for path in paths(patterns)]
    except UnreadableLockError as error:
        raise EntryError(f"{error}") from error


def paths(patterns: Iterable[str]) -> list[Path]:
    """Return the files that match globs, each once; raises `EntryError` if a glob matches none."""
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


def kept(directory: Path, texts: Mapping[str, str] | None = None) -> list[Lock]:
    """Return the resolved locks, or [] if one is unreadable; the next sync resolves again.

    `texts` are their texts by file name; the default is what the directory has.
    """
    try:
        if texts is not None:
            return [pylock.read(directory / name, text) for name, text in sorted(texts.items())]
        return [pylock.read(path) for path in sorted(directory.glob("pylock.*.toml"))]
    except UnreadableLockError:
        return []


def tell(locks: Iterable[Lock]) -> None:
    """Log a warning for each entry of a lock that no index has, such as a Git repository."""
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
    """Return a function that says whether an environment meets a marker."""

    def meets(marker: Marker) -> bool:
        try:
            return marker.evaluate(facts)
        except UndefinedEnvironmentName:  # the marker needs a variable that no environment has
            return True

    return meets


def _versions(release: LockedRelease) -> SpecifierSet | None:
    """Return the specifier for a release's version; None if it has none. Raises `EntryError`."""
    if release.version is None:
        return None
    version = bounded.version(release.version)
    if version is not None:
        return bounded.specifiers(f"=={version}")
    if any(file.filename is not None for file in release.files):
        return None  # its files are named, so the spelling of the version does not matter
    shown = printable(release.version, 60)
    raise EntryError(
        f"{release.source}: {shown!r} is no version of today's form, so no file can be told by it; "
        "lock another version, or name the project in select.projects"
    )


def _entry(release: LockedRelease) -> Entry:
    return Entry(
        f"{release}",
        release.source,
        name=release.project,
        versions=_versions(release),
        hashes=frozenset(d for f in release.files if f.filename is None for d in f.digests),
        files=tuple(file for file in release.files if file.filename is not None),
        is_locked=True,
    )
