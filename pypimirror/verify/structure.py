"""The level of proof "structure": a file was read to its end, and is what its name says.

This is what can be known of a file of which no index gave a digest. Lives here: which reader a
format of `pypimirror.domain.formats` has, and the verdict. Does not live here: any format.

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


#: Reads a file to its end; returns METADATA of a wheel.
Reader = Callable[[BinaryIO, int, Identity, Meter, Findings], bytes | None]


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
    form = format_of(identity.filename)
    if form is None:
        findings.unchecked.append("no program here knows what it should be")
        return "none", None
    start = stream.read(1024)
    stream.seek(0)
    _check_start(start, form)
    check = reader_of(form)
    if check is None:
        findings.unchecked.append(f"no program here can read a {form.ending}")
        return "none", None
    metadata = check(stream, size, identity, meter, findings)
    if findings.contradictions:
        return "released", metadata
    return "partial" if findings.unchecked else "structure", metadata


def reader_of(form: Format) -> Reader | None:
    """Return what reads a format to its end; None where nothing here can."""
    if form.container == "tar":
        return _TARS.get(form.compression)
    return _CONTAINERS.get(form.container)


def _tar(kind: Kind | None) -> Reader:
    return lambda stream, _, identity, meter, findings: sdists.check_tar(
        stream, kind, identity, meter, findings
    )


_CONTAINERS: dict[Container, Reader] = {
    "wheel": check_wheel,
    "egg": sdists.check_egg,
    "zip": sdists.check_zip,
}
_TARS = {formats.NONE: _tar(None), **{kind.compression: _tar(kind) for kind in KINDS}}


def _check_start(start: bytes, form: Format) -> None:
    """Refuse early, and by name, what is often put in the place of a file."""
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
