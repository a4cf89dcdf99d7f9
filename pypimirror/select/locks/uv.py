"""`uv.lock`, also of a script (`script.py.lock`). Pure.

For packages of a registry, it has files with address, digest and size. The markers are on the
dependencies, which start at the project's own packages, so `roots` and `needs` have the markers.
All extras and groups are followed. Source:
https://docs.astral.sh/uv/concepts/projects/layout/#the-lockfile
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pypimirror.select.locks import lock
from pypimirror.select.locks.documents import Table, TomlDocument
from pypimirror.select.locks.lock import Lock, LockedRelease, Need, UnreadableLockError

#: Versions of the format. Its revisions add only parts that a reader may ignore.
VERSIONS = ("1",)

#: Sources that are no index, with their names in messages.
_ELSEWHERE = {
    "git": "a git repository",
    "path": "a file of the machine",
    "url": "a direct address",
    "directory": "a directory",
    "editable": "an editable directory",
    "virtual": "the project itself",
}
#: Kinds of sources of the lock's own project.
_OWN = ("virtual", "editable")


def read(path: Path) -> Lock:
    """Read a `uv.lock`; raises `UnreadableLockError`."""
    document = TomlDocument(path)
    document.check_version(document.values.get("version"), VERSIONS, document.line_with("version"))
    releases, notes, others = [], [], []
    named: set[tuple[str, object]] = set()
    for table, line in document.tables("package"):
        place = document.at(line)
        project = document.project(table.get("name"), place)
        source = document.of_type(table.get("source"), dict, place, f"the source of {project}")
        needs = tuple(_needs(document, table, line))
        named |= {(project, None), (project, table.get("version"))}
        kind = next((kind for kind in _ELSEWHERE if kind in source), None)
        if kind is not None:
            others.append((project, needs))
            if kind not in _OWN:
                notes.append(f"{place}: {project} is from {_ELSEWHERE[kind]}, which no index has")
            continue
        version = document.of_type(table.get("version"), str, place, f"the version of {project}")
        listed = _tables(document, table, line)
        files = document.files([each for each in listed if "url" in each], project, line)
        if paths := len(files) < len(listed):
            notes.append(f"{place}: {project} {version} has files by path, which no index has")
        if not files and not paths:
            raise UnreadableLockError(
                f"{place}: names no file of {project} {version}: it may be cut off; make it again "
                "with 'uv lock'"
            )
        if files:
            releases.append(LockedRelease(project, version, files, place, needs=needs))
    roots = [need for _, needs in others for need in needs]
    roots += _manifest(document)
    for need in (*roots, *(need for release in releases for need in release.needs)):
        if (need.project, need.version) not in named:
            raise UnreadableLockError(
                f"{path}: names no package {need.project}, which others of it need: it may be cut "
                "off; make it again with 'uv lock'"
            )
    return Lock(path, "uv.lock", tuple(releases), tuple(notes), tuple(roots) or None)


def _tables(document: TomlDocument, table: Table, line: int) -> list[Table]:
    """Return the tables of a package's files, the sdist first."""
    place = document.at(line)
    sdist, wheels = table.get("sdist"), table.get("wheels", [])
    found = [sdist] if sdist is not None else []
    found += document.of_type(wheels, list, place, "'wheels'")
    return [document.of_type(each, dict, place, "the entry of a file") for each in found]


def _needs(document: TomlDocument, table: Table, line: int) -> Iterator[Need]:
    """Yield the needs of a package, with all of its extras and groups."""
    place = document.at(line)
    lists = [table.get("dependencies", [])]
    for key in ("optional-dependencies", "dev-dependencies"):
        groups = document.of_type(table.get(key, {}), dict, place, f"{key!r}")
        lists.extend(groups.values())
    for each in lists:
        for need in document.of_type(each, list, place, "what a package needs"):
            yield _need(document, need, line)


def _need(document: TomlDocument, table: object, line: int) -> Need:
    place = document.at(line)
    need: Table = document.of_type(table, dict, place, "what a package needs")
    project = document.project(need.get("name"), place)
    marker = need.get("marker")
    if marker is not None:
        document.of_type(marker, str, place, f"the marker of {project}")
    version = need.get("version")
    return Need(
        project,
        version if isinstance(version, str) else None,
        lock.marker(marker, place) if marker else None,
    )


def _manifest(document: TomlDocument) -> list[Need]:
    """Return the needs outside of the project's packages: of a script, or of the workspace."""
    manifest = document.of_type(
        document.values.get("manifest", {}), dict, document.at(1), "'manifest'"
    )
    groups = document.of_type(
        manifest.get("dependency-groups", {}), dict, document.at(1), "'dependency-groups'"
    )
    lists = [manifest.get("requirements", []), *groups.values()]
    return [
        _need(document, each, 1)
        for found in lists
        for each in document.of_type(found, list, document.at(1), "a list of requirements")
    ]
