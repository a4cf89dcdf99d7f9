"""`pdm.lock`, of PDM 1 and 2. Pure.

Old versions of the format (4.1, of PDM 2.4) have the files of all packages in `[metadata.files]`,
by project and version. Later ones (4.4.1, of PDM 2.12) have them in each package. With the strategy
`inherit_metadata`, the default of these, the lock says where each package is needed.
"""

from __future__ import annotations

from pathlib import Path

from pypimirror.select.locks import lock
from pypimirror.select.locks.documents import TomlDocument
from pypimirror.select.locks.lock import Lock, LockedRelease, UnreadableLockError

#: Keys of packages that no index has, with their names in messages.
_ELSEWHERE = {
    "git": "a git repository",
    "hg": "a Mercurial repository",
    "svn": "a Subversion repository",
    "bzr": "a Bazaar repository",
    "path": "a path of the machine",
    "url": "a direct address",
}


def read(path: Path) -> Lock:
    """Read a `pdm.lock`; raises `UnreadableLockError`."""
    document = TomlDocument(path)
    metadata = document.table(document.values, "metadata", 1)
    document.check_major(metadata.get("lock_version"), (3, 4), "lock_version")
    by_release = document.table(metadata, "files", 1)
    releases, notes = [], []
    for table, line in document.tables("package"):
        place = document.at(line)
        project = document.project(table.get("name"), place)
        kind = next((kind for kind in _ELSEWHERE if kind in table), None)
        if kind is not None:
            notes.append(f"{place}: {project} is from {_ELSEWHERE[kind]}, which no index has")
            continue
        version = document.of_type(table.get("version"), str, place, f"the version of {project}")
        listed = by_release.get(f"{table['name']} {version}", [])
        files = document.files(table.get("files", listed), project, line)
        if not files:
            raise UnreadableLockError(
                f"{place}: names no file of {project} {version}: it may be cut off; make it again "
                "with 'pdm lock'"
            )
        stated = table.get("marker")
        marker = None
        if stated is not None:
            text = document.of_type(stated, str, place, f"the marker of {project}")
            marker = lock.marker(text, place)
        releases.append(LockedRelease(project, version, files, place, marker))
    return Lock(path, "pdm.lock", tuple(releases), tuple(notes))
