"""`pylock.toml` and `pylock.<name>.toml` (PEP 751), read by `packaging.pylock`. Pure.

`packaging` checks the document by the specification, except for digests, which this module checks.
uv also locks sdists of old forms (`.tar.bz2`). `packaging` refuses them, so it sees another name.
Source: https://packaging.python.org/en/latest/specifications/pylock-toml/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from packaging.pylock import (
    Package,
    PackageSdist,
    PackageWheel,
    Pylock,
    PylockUnsupportedVersionError,
    PylockValidationError,
)

from pypimirror.domain import bounded
from pypimirror.domain.filenames import printable
from pypimirror.domain.model import ProjectName
from pypimirror.select.locks import lock
from pypimirror.select.locks.documents import Table, TomlDocument, name_in
from pypimirror.select.locks.lock import Lock, LockedFile, LockedRelease, UnreadableLockError

_PACKAGE = re.compile(r"packages\[(\d+)\]")


def read(path: Path, text: str | None = None) -> Lock:
    """Read a `pylock.toml`, or its `text` if that is given; raises `UnreadableLockError`."""
    document = TomlDocument(path, text)
    stated = document.values.get("lock-version")
    place = document.line_with("lock-version")
    # First, because the meaning of everything else depends on it.
    if not isinstance(stated, str) or not re.fullmatch(r"1(\.[0-9]+)?", stated):
        document.check_version(stated, ("1.0",), place)
    tables = list(document.tables("packages"))
    lines = [line for _, line in tables]
    packages = [_in_todays_form(table, document.at(line)) for table, line in tables]
    try:
        found = Pylock.from_dict(document.values | {"packages": packages})
    except PylockUnsupportedVersionError as error:
        raise UnreadableLockError(f"{place}: {error}") from error
    except PylockValidationError as error:
        position = _PACKAGE.search(error.context or "")
        number = bounded.natural(position[1]) if position else None
        line = 1 if number is None else lines[number]
        raise UnreadableLockError(f"{document.at(line)}: {printable(str(error), 300)}") from error
    releases, notes = [], []
    for package, (table, line) in zip(found.packages, tables, strict=True):
        source = document.at(line)
        if elsewhere := _elsewhere(package):
            notes.append(f"{source}: {package.name} is from {elsewhere}, which no index has")
            continue
        releases.append(
            LockedRelease(
                ProjectName(package.name),
                str(package.version) if package.version is not None else None,
                tuple(_files(document, package, table, line)),
                source,
                lock.marker(str(package.marker), source) if package.marker else None,
            )
        )
    return Lock(path, "pylock.toml", tuple(releases), tuple(notes))


def _elsewhere(package: Package) -> str:
    """Return the source of a package that no index has; "" if an index has it."""
    if package.vcs is not None:
        return f"a {package.vcs.type} repository"
    if package.directory is not None:
        return "a directory"
    if package.archive is not None:
        return "a direct address" if package.archive.url else "a file of the machine"
    return "" if any(file.url for file in _distributions(package)) else "files of the machine"


def _in_todays_form(table: Table, place: str) -> Table:
    """Return a package; an sdist of an old form gets a name in today's form."""
    name, version, sdist = table.get("name"), table.get("version"), table.get("sdist")
    if not isinstance(sdist, dict) or not isinstance(name, str) or not isinstance(version, str):
        return table
    if _name_of(sdist, place).endswith((".tar.gz", ".zip")):
        return table
    return table | {"sdist": sdist | {"name": f"{name.replace('-', '_')}-{version}.tar.gz"}}


def _name_of(file: Table, place: object) -> str:
    """Return the name of a file by the rules of the specification; raises `UnreadableLockError`."""
    named = str(file.get("name") or file.get("path") or "")
    return named.rpartition("/")[2] or name_in(str(file.get("url", "")), place)


def _distributions(package: Package) -> list[PackageSdist | PackageWheel]:
    sdist = [package.sdist] if package.sdist is not None else []
    return [*sdist, *(package.wheels or ())]


def _files(
    document: TomlDocument, package: Package, table: Table, line: int
) -> Iterator[LockedFile]:
    project = ProjectName(package.name)
    for file in _distributions(package):
        if not file.url:
            continue  # the package has other files that an index has
        place = document.line_with(file.url, line)
        is_sdist = file is package.sdist
        name = _name_of(table["sdist"], place) if is_sdist else file.filename
        filename = document.filename(name, project, place)
        digests = (
            lock.digest_of(algorithm, value, document.line_with(value, line))
            for algorithm, value in file.hashes.items()
        )
        yield LockedFile(filename, frozenset(filter(None, digests)), file.url, file.size)
