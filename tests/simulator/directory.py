"""A directory of distribution files as an index."""

from __future__ import annotations

import tarfile
import zipfile
from email.parser import BytesHeaderParser
from pathlib import Path

from packaging.utils import InvalidSdistFilename, InvalidWheelFilename
from packaging.utils import parse_sdist_filename as parse_sdist
from packaging.utils import parse_wheel_filename as parse_wheel

from tests.simulator.index import Index, IndexFile, wheel_metadata


def offer(index: Index, directory: Path) -> list[IndexFile]:
    """Offer all wheels and sdists below a directory, with the facts from their metadata."""
    offered = []
    for path in sorted(directory.rglob("*")):
        try:
            name = (parse_wheel if path.suffix == ".whl" else parse_sdist)(path.name)[0]
        except (InvalidWheelFilename, InvalidSdistFilename):
            continue
        metadata = read_metadata(path)
        requires_python = BytesHeaderParser().parsebytes(metadata or b"")["Requires-Python"]
        offered.append(
            index.add_file(
                name,
                path.name,
                path,
                requires_python=requires_python,
                core_metadata=True if path.suffix == ".whl" else None,
            )
        )
    return offered


def read_metadata(path: Path) -> bytes | None:
    """Return METADATA of a wheel or PKG-INFO of an sdist; None if there is none."""
    if path.suffix == ".whl":
        return wheel_metadata(path.read_bytes())
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as packed:
                names = [n for n in packed.namelist() if top_level(n)]
                return packed.read(names[0]) if names else None
        with tarfile.open(path) as archive:
            for member in archive:
                if top_level(member.name) and (file := archive.extractfile(member)):
                    return file.read()
    except (OSError, tarfile.TarError, zipfile.BadZipFile):
        pass
    return None


def top_level(name: str) -> bool:
    """Whether this is the PKG-INFO of the sdist itself."""
    return name.removeprefix("./").count("/") == 1 and name.endswith("/PKG-INFO")
