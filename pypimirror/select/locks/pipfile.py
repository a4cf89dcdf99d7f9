"""`Pipfile.lock`. Pure.

It has the digests of all files of a release, but no file names. A project that the locking machine
does not need has no version (`"*"`): then every file of the project is meant. Source:
https://github.com/pypa/pipfile
"""

from __future__ import annotations

from pathlib import Path

from packaging.markers import Marker

from pypimirror.domain import bounded
from pypimirror.domain.filenames import printable
from pypimirror.select.locks import lock
from pypimirror.select.locks.documents import JsonDocument, Table
from pypimirror.select.locks.lock import Lock, LockedFile, LockedRelease, UnreadableLockError

#: Versions of the format.
SPECS = ("6",)

#: Keys of packages that no index has, with their names in messages.
_ELSEWHERE = {
    "git": "a git repository",
    "hg": "a Mercurial repository",
    "svn": "a Subversion repository",
    "bzr": "a Bazaar repository",
    "file": "a direct address",
    "path": "a path of the machine",
}
#: Markers that older versions of pipenv wrote as keys: `"sys_platform": "== 'win32'"`.
_VARIABLES = (
    *("os_name", "sys_platform", "platform_machine", "platform_python_implementation"),
    *("platform_release", "platform_system", "platform_version", "python_version"),
    *("python_full_version", "implementation_name", "implementation_version"),
)


def read(path: Path) -> Lock:
    """Read a `Pipfile.lock`; raises `UnreadableLockError`."""
    document = JsonDocument(path)
    meta = document.table(document.values, "_meta", 1)
    line, _ = document.line_of_key("pipfile-spec")
    document.check_version(meta.get("pipfile-spec"), SPECS, document.at(line))
    releases: list[LockedRelease] = []
    notes: list[str] = []
    for category in document.values:
        if category != "_meta":
            _read_category(document, category, releases, notes)
    return Lock(path, "Pipfile.lock", tuple(releases), tuple(notes))


def _read_category(
    document: JsonDocument, category: str, releases: list[LockedRelease], notes: list[str]
) -> None:
    """Read the packages of `default`, of `develop`, or of another category."""
    line, position = document.line_of_key(category)
    for name, value in document.table(document.values, category, line).items():
        line, position = document.line_of_key(name, position)
        place = document.at(line)
        project = document.project(name, place)
        entry = document.of_type(value, dict, place, f"the entry of {project}")
        kind = next((kind for kind in _ELSEWHERE if kind in entry), None)
        if kind is not None:
            notes.append(f"{place}: {project} is from {_ELSEWHERE[kind]}, which no index has")
            continue
        version = _version(document, entry, line)
        if version is None:
            notes.append(
                f"{place}: {project} has no version, because the machine that made the lock "
                "does not need it: all of its files are meant"
            )
        files = tuple(_files(document, entry, line))
        marker = _marker(document, entry, line)
        releases.append(LockedRelease(project, version, files, place, marker))


def _version(document: JsonDocument, entry: Table, line: int) -> str | None:
    """Return the version that an entry pins; None if it pins none."""
    stated = entry.get("version", "*")
    place = document.at(line)
    text: str = document.of_type(stated, str, place, "a version")
    if text == "*":
        return None
    pins = list(bounded.specifiers(text) or ())
    if len(pins) != 1 or pins[0].operator not in ("==", "===") or "*" in pins[0].version:
        raise UnreadableLockError(f"{place}: {printable(text, 80)!r} is no version such as '==1.0'")
    return pins[0].version


def _files(document: JsonDocument, entry: Table, line: int) -> list[LockedFile]:
    place = document.at(line)
    found = []
    for value in document.of_type(entry.get("hashes", []), list, place, "'hashes'"):
        text = document.of_type(value, str, place, "a hash")
        digest = lock.digest(text, document.line_with(text, line))
        if digest is not None:
            found.append(LockedFile(None, frozenset([digest])))
    return found


def _marker(document: JsonDocument, entry: Table, line: int) -> Marker | None:
    place = document.at(line)
    texts = [entry["markers"]] if "markers" in entry else []
    texts += [f"{name} {entry[name]}" for name in _VARIABLES if name in entry]
    texts = [document.of_type(text, str, place, "a marker") for text in texts]
    return lock.marker(" and ".join(f"({text})" for text in texts), place) if texts else None
