"""`poetry.lock`, of Poetry 1 and 2. Pure.

Version 1.x of the format has the files of all packages in `[metadata.files]`, by project; 2.x has
them in each package. Since 2.1 the lock says where each package is needed. Before, only
pyproject.toml says so, and every environment counts as needing all packages.
"""

from __future__ import annotations

from pathlib import Path

from packaging.markers import Marker

from pypimirror.domain import bounded
from pypimirror.domain.filenames import version_of
from pypimirror.domain.model import ProjectName
from pypimirror.select.locks import lock
from pypimirror.select.locks.documents import TomlDocument
from pypimirror.select.locks.lock import Lock, LockedFile, LockedRelease, UnreadableLockError

#: Poetry's types of sources that are no index, with their names in messages.
_ELSEWHERE = {
    "git": "a git repository",
    "file": "a file of the machine",
    "directory": "a directory",
    "url": "a direct address",
}


def read(path: Path) -> Lock:
    """Read a `poetry.lock`; raises `UnreadableLockError`."""
    document = TomlDocument(path)
    metadata = document.table(document.values, "metadata", 1)
    document.check_major(metadata.get("lock-version"), (1, 2), "lock-version")
    by_project = document.table(metadata, "files", 1)
    releases, notes = [], []
    for table, line in document.tables("package"):
        place = document.at(line)
        project = document.project(table.get("name"), place)
        kind = document.table(table, "source", line).get("type")
        if kind in _ELSEWHERE:
            notes.append(f"{place}: {project} is from {_ELSEWHERE[kind]}, which no index has")
            continue
        version = document.of_type(table.get("version"), str, place, f"the version of {project}")
        listed = table["files"] if "files" in table else by_project.get(table["name"], [])
        files = document.files(listed, project, line)
        if "files" not in table:
            files = tuple(file for file in files if _is_of(file, project, version))
        if not files:
            raise UnreadableLockError(
                f"{place}: names no file of {project} {version}: it may be cut off; make it again "
                "with 'poetry lock'"
            )
        marker = _marker(document, table.get("markers"), line)
        releases.append(LockedRelease(project, version, files, place, marker))
    return Lock(path, "poetry.lock", tuple(releases), tuple(notes))


def _is_of(file: LockedFile, project: ProjectName, version: str) -> bool:
    """Whether a file has this version; a lock may have several versions of a project."""
    found, stated = version_of(file.filename or "", project), bounded.version(version)
    return found is None or stated is None or found == stated


def _marker(document: TomlDocument, stated: object, line: int) -> Marker | None:
    """Return the marker for where a package is needed; a lock may have one for each group."""
    if stated is None:
        return None
    place = document.at(line)
    texts = list(stated.values()) if isinstance(stated, dict) else [stated]
    return lock.any_marker([document.of_type(t, str, place, "a marker") for t in texts], place)
