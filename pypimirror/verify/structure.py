"""The level of proof "structure": a file was read to its end, and is what its name says.

This is what can be known of a file of which no index gave a digest. Lives here: which reader is
due for which file name, and the verdict. Does not live here: any format.

The rules:

* any bytes lead to a verdict; only the disk raises (`OSError`);
* what a file claims of itself never decides how much memory or time is spent on it (`Limits`);
* archives in archives are contents: they are not opened;
* what could not be checked is told, never passed over: installers of systems (.exe, .msi, .rpm,
  .deb, .dmg) are not read at all (docs/decisions/0001-no-readers-for-system-packages.md).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from pypimirror.domain.model import Problem
from pypimirror.system import regular
from pypimirror.verify import sdists
from pypimirror.verify.archives.findings import ContradictionError, Findings
from pypimirror.verify.archives.limits import ArchiveError, Clock, Limits, Meter
from pypimirror.verify.archives.streams import BZIP2, GZIP, LZMA, XZ, ZSTD, Kind
from pypimirror.verify.identity import Identity
from pypimirror.verify.wheels.structure import check_wheel

Proof = Literal["structure", "partial", "released", "none"]


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was found out about one file.

    `proof` says what was really checked. "structure": the file was read to its end, all of its
    contents have a checksum of the format's own that holds, and it names its project and its
    version. "partial": as far as it goes that is so, and `unchecked` says what is missing.
    "released": it contradicts itself, as `unchecked` says first, and the operator released it.
    "none": nothing could be checked (`unchecked` says why), or there is a `problem`.
    """

    proof: Proof
    problem: Problem | None = None
    unchecked: tuple[str, ...] = ()  #: what could not be checked and why, as ends of sentences
    metadata: bytes | None = None  #: METADATA of a wheel
    entries: int = 0
    unpacked: int = 0  #: bytes, after unpacking


_Check = Callable[[BinaryIO, int, Identity, Meter, Findings], bytes | None]


def check_structure(
    path: Path,
    filename: str,
    project: str,
    limits: Limits = Limits(),  # noqa: B008  (frozen)
    *,
    released: bool = False,
    clock: Clock = time.thread_time,
) -> Verdict:
    """Read the file at `path` to its end as what `filename` says that it is.

    `project` is a `ProjectName`. `released` says that the operator lets these bytes contradict
    themselves; they must be safe, whole and of this project all the same.

    `clock` returns seconds, of computing if nothing else is said: a slow disk is no fault of the
    file. It is asked at least once for each entry and each buffer, so that it may also raise to
    stop the work. Raises `OSError`.

    Reasons of the problem: BAD_ARCHIVE, WRONG_PROJECT, TOO_LARGE. Its message is the end of a
    sentence that starts with the file.
    """
    identity, findings = Identity(filename, project), Findings(released=released)
    with regular.stream(str(path)) as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        meter = Meter(limits, size, clock)
        try:
            proof, metadata = _check(stream, size, identity, meter, findings)
        except ArchiveError as error:
            message = error.message
            if isinstance(error, ContradictionError):
                message += f"; 'pypimirror quarantine release {filename}' lets it in all the same"
            problem = Problem(error.reason, message, project=project, file=filename)
            return Verdict("none", problem, entries=meter.entries, unpacked=meter.unpacked)
    return Verdict(
        proof,
        unchecked=(*findings.contradictions, *findings.unchecked),
        metadata=metadata,
        entries=meter.entries,
        unpacked=meter.unpacked,
    )


def _check(
    stream: BinaryIO, size: int, identity: Identity, meter: Meter, findings: Findings
) -> tuple[Proof, bytes | None]:
    lower = identity.filename.lower()
    ending = next((ending for ending in _FORMATS if lower.endswith(ending)), "")
    if not ending:
        findings.unchecked.append("no program here knows what it should be")
        return "none", None
    magics, check = _FORMATS[ending]
    start = stream.read(1024)
    stream.seek(0)
    _check_start(start, ending, magics)
    if check is None:
        findings.unchecked.append(f"no program here can read a {ending}")
        return "none", None
    metadata = check(stream, size, identity, meter, findings)
    if findings.contradictions:
        return "released", metadata
    return "partial" if findings.unchecked else "structure", metadata


def _check_start(start: bytes, ending: str, magics: tuple[bytes, ...]) -> None:
    """Refuse early, and by name, what is often put in the place of a file."""
    if not start:
        raise ArchiveError("is empty")
    if start.startswith(magics) if magics else start[257:262] == b"ustar":
        return
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--", b"<body")):
        raise ArchiveError(f"is an HTML page, not a {ending}")
    if not magics:
        return
    seen = next((name for magic, name in _KNOWN if start.startswith(magic)), None)
    raise ArchiveError(f"{f'is {seen}, not' if seen else 'does not start as'} a {ending}")


def _tar(kind: Kind | None) -> _Check:
    return lambda stream, _, identity, meter, findings: sdists.check_tar(
        stream, kind, identity, meter, findings
    )


_ZIP = (b"PK\3\4", b"PK\5\6")
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

#: For each ending (lower case; the first that fits counts) what the file may start with, where
#: that is certain, and what reads it; None where nothing here can.
_FORMATS: dict[str, tuple[tuple[bytes, ...], _Check | None]] = {
    ".whl": (_ZIP, check_wheel),
    ".tar.gz": (GZIP.magics, _tar(GZIP)),
    ".tgz": (GZIP.magics, _tar(GZIP)),
    ".zip": (_ZIP, sdists.check_zip),
    ".tar.bz2": (BZIP2.magics, _tar(BZIP2)),
    ".tbz2": (BZIP2.magics, _tar(BZIP2)),
    ".tbz": (BZIP2.magics, _tar(BZIP2)),
    ".tar.xz": (XZ.magics, _tar(XZ)),
    ".txz": (XZ.magics, _tar(XZ)),
    ".tar.zst": (ZSTD.magics, _tar(ZSTD)),
    ".tar.lzma": ((), _tar(LZMA)),
    ".tar.lz": ((b"LZIP",), None),
    ".tlz": ((), None),  # lzip or lzma: both were called so
    ".tar.z": ((b"\x1f\x9d",), None),
    ".tar": ((), _tar(None)),
    ".egg": ((*_ZIP, b"#!"), sdists.check_egg),
    ".exe": ((b"MZ",), None),
    ".msi": ((_OLE,), None),
    ".rpm": ((b"\xed\xab\xee\xdb",), None),
    ".deb": ((b"!<arch>\n",), None),
    ".dmg": ((), None),
}

_KNOWN = (
    (b"PK\3\4", "a zip"),
    (b"\x1f\x8b", "a gzip stream"),
    (b"\x1f\x9d", "an old compressed stream"),
    (b"BZh", "a bzip2 stream"),
    (b"\xfd7zXZ", "an xz stream"),
    (b"\x28\xb5\x2f\xfd", "a zstd stream"),
    (b"MZ", "a Windows program"),
    (b"{", "JSON or the like"),
)
