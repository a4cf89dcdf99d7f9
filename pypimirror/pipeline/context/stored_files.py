"""Read files that the storage holds, on this machine's disk or in a bucket.

A job names its file by the key. If the storage is a directory, the pools of the run read the files
in it. If not, `hashed` streams many objects at once, with one chunk of each in memory. `examined`
is for archives that are read back and forth: it copies each object to disk, and removes the copy.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from functools import partial

import msgspec

from pypimirror.domain.model import Problem, Reason
from pypimirror.pipeline.context.pools import Checker
from pypimirror.storage.storage import Storage
from pypimirror.system.disk_errors import StorageError
from pypimirror.system.workers import Cancelled
from pypimirror.verify.hashing import new_hash
from pypimirror.verify.protocol import Check, Checked
from pypimirror.verify.readers import Readers


def hashed(
    storage: Storage, reader: Checker, jobs: Iterable[Check], cancelled: threading.Event
) -> Iterator[Checked]:
    """Hash objects of the storage; `path`, `sidecar` and `provenance` of the jobs are keys.

    The results are those of `Checker.run`. Raises `StorageError` if the storage cannot be read.
    """
    if storage.directory is not None:
        return reader.run(_below(f"{storage.directory}/", job) for job in jobs)
    read = partial(_read, storage, cancelled)
    return Readers(storage.at_once, storage.waiting, read).run(jobs)


def examined(
    storage: Storage, checker: Checker, jobs: Iterable[tuple[Check, str | None]]
) -> Iterator[Checked]:
    """Do jobs that need files on disk. Each job comes with the key of its object; with None, its
    path names a file that is on disk already.
    """
    copies: dict[int, str] = {}

    def located() -> Iterator[Check]:
        for job, key in jobs:
            if key is None:
                yield job
                continue
            local = storage.local(key)
            if local.is_copy:
                copies[job.id] = local.path
            yield msgspec.structs.replace(job, path=local.path)

    try:
        for result in checker.run(located()):
            _remove(copies.pop(result.id, ""))
            yield result
    finally:
        for path in copies.values():
            _remove(path)


def _remove(path: str) -> None:
    if path:
        with contextlib.suppress(OSError):
            os.unlink(path)  # noqa: PTH108


def _below(root: str, job: Check) -> Check:
    """Return the job for a file below a directory."""
    return msgspec.structs.replace(
        job,
        path=root + job.path,
        root=root,
        sidecar=job.sidecar and root + job.sidecar,
        provenance=job.provenance and root + job.provenance,
    )


def _read(storage: Storage, cancelled: threading.Event, job: Check) -> Checked:
    """Hash an object and its sidecars."""
    if cancelled.is_set():
        raise Cancelled("cancelled")
    hashes = {name: new_hash(name) for name in {*job.digests, "sha256"}}
    size = 0
    try:
        seen, chunks = storage.opened(job.path)
        for chunk in chunks:
            if cancelled.is_set():
                raise Cancelled("cancelled")
            size += len(chunk)
            for each in hashes.values():
                each.update(chunk)
        sidecar = _sidecar(storage, job.sidecar)
        provenance = _sidecar(storage, job.provenance)
    except (OSError, StorageError) as error:
        return Checked(job.id, problem=_problem(job, error))
    return Checked(
        job.id,
        size,
        {name: each.hexdigest() for name, each in hashes.items()},
        sidecar_sha256=sidecar,
        provenance_sha256=provenance,
        stamp=seen.stamp,
    )


def _sidecar(storage: Storage, key: str) -> str:
    """Return the digest of a sidecar; "" if it is missing."""
    content = storage.read(key) if key else None
    return hashlib.sha256(content).hexdigest() if content is not None else ""


def _problem(job: Check, error: OSError | StorageError) -> Problem:
    """Return the problem of an object that cannot be read. If the storage does not answer, its
    error is raised, because it says nothing about the object.
    """
    if isinstance(error, StorageError):
        if not error.is_of_path:
            raise error
        reason, text = Reason.UNREADABLE, str(error)
    elif isinstance(error, FileNotFoundError):
        reason, text = Reason.LOST, f"{job.path}: is not there"
    else:
        reason, text = Reason.UNREADABLE, f"{job.path}: cannot be read: {error.strerror or error}"
    return Problem(reason, text, job.project, job.filename)
