"""Wheels: one directory of information, and contents that agree with it.

This module has the rules on a wheel as a whole. `zips` reads zip, `record` RECORD, `entry_points`
entry points, and `identity` checks names and versions.
"""

from __future__ import annotations

import re
from typing import BinaryIO

from packaging.utils import canonicalize_name

from pypimirror.verify.archives.entries import unpacked_path
from pypimirror.verify.archives.findings import Findings
from pypimirror.verify.archives.limits import ArchiveError, Meter, shown
from pypimirror.verify.archives.zip_directory import CentralDirectory, read_directory
from pypimirror.verify.archives.zips import read_entry, walk_zip
from pypimirror.verify.fields import fields
from pypimirror.verify.identity import Identity
from pypimirror.verify.wheels import entry_points
from pypimirror.verify.wheels.record import WheelRecord

_INFORMATION = ".dist-info"
_ENTRY_POINTS = "entry_points.txt"
#: Bytes of the largest entry_points.txt that is checked.
_MOST_JUDGED = 64 << 10
_WHEEL_VERSION = re.compile(rb"0*1(?:\.[0-9]+)*[ \t]*")
# What the directory NAME-VERSION.data may hold: the schemes of sysconfig that wheels know.
_SCHEMES = frozenset(("data", "headers", "platlib", "purelib", "scripts"))


def check_wheel(
    stream: BinaryIO, size: int, identity: Identity, meter: Meter, findings: Findings
) -> bytes:
    """Read a wheel to its end; return the contents of METADATA.

    Raises `ArchiveError`.
    """
    directory = read_directory(stream, size, meter)
    information = _information(directory, identity)
    parts = {entry.name: entry for entry in directory.entries if not entry.is_directory}

    def read(name: str, most: int) -> bytes:
        entry = parts.get(f"{information}/{name}")
        if entry is None:
            raise ArchiveError(f"has no {name}, without which it is no wheel")
        return read_entry(stream, entry, meter, most)

    metadata = read("METADATA", meter.limits.max_metadata)
    identity.check_metadata(metadata, f"{information}/METADATA")
    _check_version(read("WHEEL", meter.limits.max_metadata))
    said = parts.get(f"{information}/{_ENTRY_POINTS}")
    if said is not None and said.size <= _MOST_JUDGED:
        _check_entry_points(read(_ENTRY_POINTS, _MOST_JUDGED))
    record = WheelRecord(read("RECORD", meter.limits.max_directory), information, meter, findings)
    directories = {unpacked_path(e.name) for e in directory.entries if e.is_directory}
    names = {unpacked_path(name) for name in parts}
    _check_schemes(names, information.removesuffix(_INFORMATION) + ".data")
    record.check_names(names, directories)
    walk_zip(stream, directory, meter, record.visit)
    record.finish()
    return metadata


def _check_version(content: bytes) -> None:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        raise ArchiveError("has a WHEEL that is not UTF-8, which no installer reads") from None
    said = next((value for name, value in fields(content) if name == b"wheel-version"), b"")
    if not _WHEEL_VERSION.fullmatch(said):
        raise ArchiveError("is no wheel of version 1: its WHEEL does not say so")


def _check_entry_points(content: bytes) -> None:
    if fault := entry_points.fault(content):
        raise ArchiveError(f"has an {_ENTRY_POINTS} that {fault}, which no installer installs")


def _check_schemes(names: set[str], data: str) -> None:
    """Refuse files in `data` that belong to no scheme: installers refuse them too."""
    for name in names:
        top, _, rest = name.partition("/")
        if top == data and ("/" not in rest or rest.partition("/")[0] not in _SCHEMES):
            raise ArchiveError(f"has an entry {shown(name)}, for which installers know no place")


def _information(directory: CentralDirectory, identity: Identity) -> str:
    """Return the name of the only directory of information, `NAME-VERSION.dist-info`."""
    tops = {entry.name.partition("/")[0] for entry in directory.entries if "/" in entry.name}
    found = sorted(top for top in tops if top.endswith(_INFORMATION))
    if len(found) != 1:
        raise ArchiveError(f"has {len(found)} directories *{_INFORMATION}, but a wheel has one")
    name = canonicalize_name(found[0].removesuffix(_INFORMATION))
    if not name.startswith(f"{identity.project}-"):
        raise ArchiveError(f"has a directory {shown(found[0])}, which is another project's")
    return found[0]
