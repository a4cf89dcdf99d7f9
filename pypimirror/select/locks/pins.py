"""Requirements files in which all requirements are pinned, as pip-compile and uv write them.

They have digests without file names, or no digests: then every file of the version is meant. They
are read in the same way as `-r` (`pypimirror.select.requirements`).
"""

from __future__ import annotations

from pathlib import Path

from pypimirror.select import requirements
from pypimirror.select.locks import lock
from pypimirror.select.locks.documents import project_name
from pypimirror.select.locks.lock import Lock, LockedFile, LockedRelease, UnreadableLockError
from pypimirror.select.requirements import Required, RequirementsError


def read(path: Path) -> Lock:
    """Read a file of pinned requirements; raises `UnreadableLockError`."""
    notes: list[str] = []
    try:
        found = list(requirements.read(path, notes.append))
    except RequirementsError as error:
        raise UnreadableLockError(str(error)) from error
    releases = tuple(_release(item) for item in found)
    return Lock(path, "requirements.txt", releases, tuple(notes))


def _release(item: Required) -> LockedRelease:
    requirement = item.requirement
    pins = {
        each.version
        for each in requirement.specifier
        if each.operator in ("==", "===") and "*" not in each.version
    }
    if len(pins) != 1:
        raise UnreadableLockError(
            f"{item.source}: '{requirement}' pins no version with '==', as locks do; compile it "
            "with its dependencies (pip-compile, uv pip compile), or name the file in "
            "select.projects: '-r …'"
        )
    digests = (
        lock.digest_of(algorithm, value, item.source) for algorithm, value in sorted(item.hashes)
    )
    return LockedRelease(
        project_name(requirement.name, item.source),
        pins.pop(),
        tuple(LockedFile(None, frozenset([each])) for each in digests if each is not None),
        item.source,
        lock.marker(str(requirement.marker), item.source) if requirement.marker else None,
    )
