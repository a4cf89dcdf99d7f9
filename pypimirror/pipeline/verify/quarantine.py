"""The quarantine: bytes that failed verification, kept for a while with a report.

An entry has two files in `.pypimirror/quarantine`: the bytes, named by the file's id in the
catalog, and a JSON report of the claimed and the observed digests. They are never served. Releasing
an entry puts its bytes back before verification: they are verified again.

A release is also the only way in for some files that no upstream gives a digest for and that cannot
be proven: the archive contradicts itself, or only a part of it could be checked. The catalog notes
the sha256 of the bytes that the operator has released. These bytes must still be whole, safe and of
their project, and must match every claimed digest.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from pypimirror.catalog.database import Catalog
from pypimirror.catalog.holder import this_machine
from pypimirror.catalog.queries import files, projects
from pypimirror.catalog.queries.work import workers
from pypimirror.catalog.records import FileRecord, ProjectFile
from pypimirror.catalog.states import State
from pypimirror.config.sections import QuarantineSection
from pypimirror.config.settings import ConfigError
from pypimirror.domain.model import Problem, Reason, Stage
from pypimirror.pipeline.discover.decisions.comparing import MAIN
from pypimirror.pipeline.download.claims import claims_of
from pypimirror.pipeline.publish import removing
from pypimirror.pipeline.run import Run
from pypimirror.storage.workspace import Workspace
from pypimirror.system import clock, regular
from pypimirror.system.disk_errors import StorageError
from pypimirror.verify.hashing import hash_file

#: Algorithms whose digests have a fixed length, so that they can be compared with a claim.
_COMPUTABLE = hashlib.algorithms_guaranteed - {"shake_128", "shake_256"}
_CHUNK = 1 << 20  #: bytes

_SHA256 = re.compile(r"[0-9a-f]{64}")

_REPORT = ".json"
_MOST = 1 << 20  # bytes of a report

#: During a run, the quarantine may exceed its size limit by this fraction: 1/_SLACK.
_SLACK = 10


class QuarantineReport(msgspec.Struct, frozen=True):
    """The report of one entry."""

    id: int  #: of the file in the catalog
    project: str
    file: str
    url: str
    run: str
    at: float  #: seconds since the epoch
    reason: Reason
    message: str
    claimed: dict[str, str]  #: algorithm to hex digest
    claimed_size: int | None  #: bytes
    observed: dict[str, str]
    observed_size: int  #: bytes
    host: str = ""  #: the machine whose disk has the bytes; "" in entries of older versions


class NotInQuarantineError(ConfigError):
    """The quarantine has no such entry: the name is wrong."""


def set_aside(
    run: Run,
    row: ProjectFile,
    take: Callable[[Path], None],
    observed: Mapping[str, str],
    size: int,
    problem: Problem,
) -> None:
    """Move the bytes of a file to quarantine. Only the bytes of the last attempt are kept.

    `take` moves the bytes to the path that it is given.
    """
    claims = claims_of(row)
    entry = QuarantineReport(
        id=row.id,
        project=row.project,
        file=row.filename,
        url=problem.url or row.url,
        run=run.name,
        at=run.now,
        reason=problem.reason,
        message=problem.message,
        claimed=dict(claims.digests),
        claimed_size=claims.size,
        observed=dict(observed),
        observed_size=size,
        host=this_machine().host,
    )
    text = msgspec.json.format(msgspec.json.encode(entry, order="sorted"))
    with removing.going_on(run, Stage.VERIFY, row.project, row.filename):
        run.workspace.set_aside(take, str(row.id), text)
    limits = run.config.quarantine
    if run.ledger.is_time_to_trim(size, limits.max_size / _SLACK):
        trim(run.workspace, limits, run.now)


def entries(workspace: Workspace) -> list[QuarantineReport]:
    """Return the entries of the quarantine, the oldest first. Unreadable reports are skipped."""
    return sorted(_read(workspace), key=lambda entry: (entry.at, entry.id))


def _read(workspace: Workspace) -> Iterator[QuarantineReport]:
    decode = msgspec.json.Decoder(QuarantineReport).decode
    for path in workspace.quarantine.glob(f"*{_REPORT}"):
        try:
            entry = decode(regular.read(str(path), most=_MOST))
        except (msgspec.DecodeError, OSError):
            continue
        if _is_of(entry, path.stem):
            yield entry


def _is_of(entry: QuarantineReport, name: str) -> bool:
    """Whether a report belongs to the bytes with this name and is complete."""
    sha256 = entry.observed.get(MAIN, "")
    is_proven = entry.reason is not Reason.BAD_ARCHIVE or _SHA256.fullmatch(sha256) is not None
    return str(entry.id) == name and 0 < entry.id < 1 << 63 and is_proven


def find(workspace: Workspace, name: str) -> QuarantineReport:
    """Return the entry with this file name or id. Raises `NotInQuarantineError`."""
    for entry in entries(workspace):
        if name in (entry.file, str(entry.id)):
            return entry
    raise NotInQuarantineError(
        f"{name}: is not in quarantine; 'pypimirror quarantine' lists the entries"
    )


def observed(workspace: Workspace, entry: QuarantineReport) -> QuarantineReport:
    """Return an entry with the digests of its bytes in all claimed algorithms.

    A run computes only the strongest digest. A user wants to compare each claim.
    """
    lacking = [a for a in entry.claimed if a not in entry.observed and a in _COMPUTABLE]
    hashes = [hashlib.new(algorithm, usedforsecurity=False) for algorithm in lacking]
    try:
        with regular.stream(str(workspace.quarantine / str(entry.id))) as stream:
            while hashes and (chunk := stream.read(_CHUNK)):
                for each in hashes:
                    each.update(chunk)
    except OSError:  # it was deleted meanwhile
        return entry
    found = {a: each.hexdigest() for a, each in zip(lacking, hashes, strict=True)}
    return msgspec.structs.replace(entry, observed=entry.observed | found)


def release(catalog: Catalog, workspace: Workspace, entry: QuarantineReport, run_id: int) -> bool:
    """Put an entry's bytes back before verification. The next sync verifies them again.

    Return whether the file still waits for bytes. If it was proven or forgotten meanwhile, the
    entry stays as it is.
    """
    bytes_path = workspace.quarantine / str(entry.id)
    released = None
    if entry.reason is Reason.BAD_ARCHIVE:
        released = bytes.fromhex(entry.observed[MAIN])
    with catalog.write() as connection:
        row = files.get(connection, entry.id)
        if row is None or row.state not in (State.QUARANTINED, State.WANTED, State.FAILED):
            return False
        if row.filename != entry.file:  # the file was forgotten and another one has its id
            return False
        if not regular.is_here(str(bytes_path)):
            return False
        workspace.release(str(entry.id), entry.id)
        files.move(connection, State.FETCHED, [{"id": entry.id, "released": released}], run_id)
        projects.touch(connection, [row.project_id])
    discard(workspace, entry)
    return True


def let_in(catalog: Catalog, workspace: Workspace, name: str) -> str | None:
    """Release a file with this name that waits for a better proof. Return its sha256 in hex.

    Return None if there is none. `release` handles files in quarantine.
    """
    with catalog.read() as connection:
        rows = files.fetched_as(connection, name)
    found: list[tuple[FileRecord, bytes]] = []
    for row in rows:
        if row.proof is not None and row.sha256 is not None:
            found.append((row, row.sha256))
        elif workspace.is_staged(row.id):
            digests = hash_file(workspace.staged(row.id), [MAIN])[1]
            found.append((row, bytes.fromhex(digests[MAIN])))
    with catalog.write() as connection:
        files.change(connection, [{"id": row.id, "released": sha} for row, sha in found])
        projects.touch(connection, [row.project_id for row, _ in found])
    return found[0][1].hex() if found else None


def elsewhere(catalog: Catalog, name: str) -> str | None:
    """Return where the quarantined bytes of a file may be; None if the catalog does not say that
    the file is in quarantine.

    A worker keeps refused bytes on its own disk, and the workers of a run may be on many machines.
    """
    with catalog.read() as connection:
        row = files.quarantined_as(connection, name)
        if row is None:
            return None
        hosts = workers.hosts_of(connection, row.run_id)
    me = this_machine().host
    told = " or ".join(sorted(hosts - {me})) or "the machine of that worker"
    return (
        f"{name}: is in quarantine, but its bytes are not on this machine ({me}). The worker that "
        f"fetched them keeps them on its own disk: run this command on {told}"
    )


def discard(workspace: Workspace, entry: QuarantineReport) -> None:
    """Delete an entry."""
    workspace.drop(str(entry.id))


def trim(workspace: Workspace, limits: QuarantineSection, now: float) -> list[Problem]:
    """Delete old entries until the rest is young and small enough. Return the failures.

    Entries with unreadable reports are deleted as well; their age is that of the file.
    """
    times = {str(entry.id): entry.at for entry in entries(workspace)}
    sizes: dict[str, int] = {}
    for path in workspace.quarantine.iterdir():
        name = path.name.removesuffix(_REPORT)
        with contextlib.suppress(FileNotFoundError):  # another thread may trim as well
            status = path.lstat()
            sizes[name] = sizes.get(name, 0) + (status.st_size if path.name == name else 0)
            if not clock.is_past(status.st_mtime, now):
                workspace.date_quarantined(path.name)  # its age counts from now on
                status = path.lstat()
            if not clock.is_past(times.setdefault(name, status.st_mtime), now):
                times[name] = status.st_mtime
    kept, failures = 0, list[Problem]()
    for name in sorted(sizes, key=lambda name: (times[name], len(name), name), reverse=True):
        old = now - times[name] > limits.max_age.total_seconds()
        if old or kept + sizes[name] > limits.max_size:
            try:
                workspace.drop(name)
            except StorageError as error:
                if not error.is_of_path:
                    raise
                failures.append(error.problem)
        else:
            kept += sizes[name]
    return failures
