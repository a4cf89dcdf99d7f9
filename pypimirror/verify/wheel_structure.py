"""Wheels: the one directory of information, and whether everything else is as it says.

Lives here: the rules on a wheel as a whole. Does not live here: zip (`zips`), RECORD
(`wheel_record`), names and versions (`identity`).
"""

from __future__ import annotations

import re
from typing import BinaryIO

from packaging.utils import canonicalize_name

from pypimirror.verify.identity import Identity
from pypimirror.verify.limits import ArchiveError, Meter, shown
from pypimirror.verify.wheel_record import Record
from pypimirror.verify.zip_directory import Directory, read_directory
from pypimirror.verify.zips import read_entry, walk_zip

_INFORMATION = ".dist-info"
_WHEEL_VERSION = re.compile(rb"^Wheel-Version[ \t]*:[ \t]*1\.[0-9]+[ \t]*\r?$", re.I | re.M)


def check_wheel(stream: BinaryIO, size: int, identity: Identity, meter: Meter) -> bytes:
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
    if not _WHEEL_VERSION.search(read("WHEEL", meter.limits.max_metadata)):
        raise ArchiveError("is no wheel of version 1: its WHEEL does not say so")
    record = Record(read("RECORD", meter.limits.max_directory), information, meter)
    record.check_names(set(parts))
    walk_zip(stream, directory, meter, record.visit)
    record.finish()
    return metadata


def _information(directory: Directory, identity: Identity) -> str:
    """The name of the only directory of information, `NAME-VERSION.dist-info`."""
    tops = {entry.name.partition("/")[0] for entry in directory.entries if "/" in entry.name}
    found = sorted(top for top in tops if top.endswith(_INFORMATION))
    if len(found) != 1:
        raise ArchiveError(f"has {len(found)} directories *{_INFORMATION}, where a wheel has one")
    name = canonicalize_name(found[0].removesuffix(_INFORMATION))
    if not name.startswith(f"{identity.project}-"):
        raise ArchiveError(f"has a directory {shown(found[0])}, which is another project's")
    return found[0]
