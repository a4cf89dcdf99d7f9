"""Proof by structure: read a file to its end, and check that it is what its name says.

This is the best proof for a file if no index gives a digest of it. This module chooses the reader
for a format of `pypimirror.domain.formats`, and gives the verdict. It knows no format itself.

The rules:

* Any bytes lead to a verdict. Only the disk raises (`OSError`).
* `Limits` decide how much memory and time a file gets, never the file itself.
* An archive within an archive is contents, and is not opened.
* The verdict says what could not be checked. Packages of operating systems (.exe, .msi, .rpm, .deb,
  .dmg) are not read at all: docs/decisions/0001-no-readers-for-system-packages.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from pypimirror.domain import formats
from pypimirror.domain.formats import FORMATS, Container, Format, format_of
from pypimirror.domain.model import Problem
from pypimirror.system import regular
from pypimirror.verify import sdists
from pypimirror.verify.archives.findings import ContradictionError, Findings
from pypimirror.verify.archives.limits import ArchiveError, Clock, Limits, Meter
from pypimirror.verify.archives.streams import KINDS, Kind
from pypimirror.verify.identity import Identity
from pypimirror.verify.wheels.structure import check_wheel

StructureProof = Literal["structure", "partial", "released", "none"]


class ArchiveVerdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of reading one file.

    `proof` says what was really checked. "structure": the file was read to its end, checksums of
    the format cover all of its contents, and it names its project and version. "partial": some of
    this is missing, as `unchecked` says. "released": the file contradicts itself, as `unchecked`
    says first, and the operator has released it. "none": nothing could be checked (`unchecked`
    says why), or there is a `problem`.
    """

    proof: StructureProof
    problem: Problem | None = None
    unchecked: tuple[str, ...] = ()  #: what could not be checked and why, as ends of sentences
    metadata: bytes | None = None  #: METADATA of a wheel
    entries: int = 0
    unpacked: int = 0  #: bytes, after unpacking


#: Reads a file to its end; returns METADATA of a wheel.
ContainerReader = Callable[[BinaryIO, int, Identity, Meter, Findings], bytes | None]


def check_structure(
    path: Path,
    filename: str,
    project: str,
    limits: Limits = Limits(),  # noqa: B008  (frozen)
    *,
    released: bool = False,
    clock: Clock = time.thread_time,
) -> ArchiveVerdict:
    """Read the file at `path` to its end, in the format that `filename` names.

    `project` is a `ProjectName`. With `released`, the operator lets these bytes contradict
    themselves; they must still be safe, whole and of this project.

    `clock` returns seconds: by default CPU time, because a slow disk is no fault of the file. It is
    called at least once for each entry and each buffer, so it may also raise to stop the work.
    Raises `OSError`.

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
                message += f"; 'pypimirror quarantine release {filename}' accepts it nevertheless"
            problem = Problem(error.reason, message, project=project, file=filename)
            return ArchiveVerdict("none", problem, entries=meter.entries, unpacked=meter.unpacked)
    return ArchiveVerdict(
        proof,
        unchecked=(*findings.contradictions, *findings.unchecked),
        metadata=metadata,
        entries=meter.entries,
        unpacked=meter.unpacked,
    )


def _check(
    stream: BinaryIO, size: int, identity: Identity, meter: Meter, findings: Findings
) -> tuple[StructureProof, bytes | None]:
    form = format_of(identity.filename)
    if form is None:
        findings.unchecked.append("nothing here knows its format")
        return "none", None
    start = stream.read(1024)
    stream.seek(0)
    _check_start(start, form)
    check = reader_of(form)
    if check is None:
        findings.unchecked.append(f"nothing here can read a {form.ending}")
        return "none", None
    metadata = check(stream, size, identity, meter, findings)
    if findings.contradictions:
        return "released", metadata
    return "partial" if findings.unchecked else "structure", metadata


def reader_of(form: Format) -> ContainerReader | None:
    """Return the reader of a format, or None if there is none."""
    if form.container == "tar":
        return _TARS.get(form.compression)
    return _CONTAINERS.get(form.container)


def _tar(kind: Kind | None) -> ContainerReader:
    return lambda stream, _, identity, meter, findings: sdists.check_tar(
        stream, kind, identity, meter, findings
    )


_CONTAINERS: dict[Container, ContainerReader] = {
    "wheel": check_wheel,
    "egg": sdists.check_egg,
    "zip": sdists.check_zip,
}
_TARS = {formats.NONE: _tar(None), **{kind.compression: _tar(kind) for kind in KINDS}}


def _check_start(start: bytes, form: Format) -> None:
    """Refuse common mistakes early and by name, such as an error page in place of a file."""
    if not start:
        raise ArchiveError("is empty")
    magics = form.magics
    if start.startswith(magics) if magics else start[257:262] == b"ustar":
        return
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--", b"<body")):
        raise ArchiveError(f"is an HTML page, not a {form.ending}")
    if not magics:
        return
    if text.startswith(b"{"):
        raise ArchiveError(f"is JSON or the like, not a {form.ending}")
    seen = next((each for each in FORMATS if each.magics and start.startswith(each.magics)), None)
    if seen is None:
        raise ArchiveError(f"does not start as a {form.ending}")
    raise ArchiveError(f"starts as a {seen.ending}, not as a {form.ending}")
