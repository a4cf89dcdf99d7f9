"""Hashing files on all cores, in threads of this process.

Hashing and reading release Python's lock, so threads are as fast as processes here, and cost no
start, no messages and no second copy of the program. Archives may be hostile; reading them is the
work of `pypimirror.verify.worker`, in processes of its own.

The threads are daemons and end with the process, so nobody waits for one that a disk holds up.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from queue import SimpleQueue

from pypimirror.domain.model import Problem, PypimirrorError, Reason
from pypimirror.system import regular
from pypimirror.system.workers import Cancelled
from pypimirror.verify.digests import hash_file
from pypimirror.verify.protocol import Check, Checked

#: Small jobs, or megabytes, that wait for each thread: enough to keep it busy, and few to finish
#: when a run is stopped.
_WAITING = 32


class Readers:
    """Threads that hash files; they start when there is work. Safe to use from several threads.

    `waiting` returns a context manager that the caller's thread enters while it waits for results.
    `work` does one job; another function can read files that are not on a local disk.
    """

    def __init__(
        self,
        threads: int,
        waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
        work: Callable[[Check], Checked] | None = None,
    ) -> None:
        self._do = work or read
        self._threads = max(1, threads)
        self._waiting = waiting
        self._stopped: PypimirrorError | None = None
        self._outboxes: set[SimpleQueue[_Answer]] = set()

    def run(self, jobs: Iterable[Check]) -> Iterator[Checked]:
        """Do `jobs` and yield their results as they come, in any order.

        `jobs` is read lazily, in the caller's thread. Raises `Cancelled` soon after `cancel`.
        """
        inbox: SimpleQueue[Check | None] = SimpleQueue()
        # A signal handler may call `put` of a simple queue at any moment.
        outbox: SimpleQueue[_Answer] = SimpleQueue()
        self._outboxes.add(outbox)
        started = 0
        try:
            limit, out = _WAITING * self._threads, 0
            weights: dict[int, int] = {}
            for job in jobs:
                if started < self._threads:
                    started += 1
                    work = threading.Thread(target=self._work, args=(inbox, outbox), daemon=True)
                    work.start()
                weights[job.id] = min(job.cost, limit)
                out += weights[job.id]
                inbox.put(job)
                while out >= limit or not outbox.empty():
                    result = self._next(outbox)
                    out -= weights.pop(result.id)
                    yield result
            while weights:
                result = self._next(outbox)
                del weights[result.id]
                yield result
        finally:
            self._outboxes.discard(outbox)
            for _ in range(started):
                inbox.put(None)

    def cancel(self) -> None:
        """End all runs with `Cancelled`. Any thread or signal handler may call it."""
        self._stopped = self._stopped or Cancelled("The work was cancelled.")
        for outbox in list(self._outboxes):
            outbox.put(self._stopped)

    def close(self) -> None:
        """Do nothing: threads end with their run."""

    def _work(self, inbox: SimpleQueue[Check | None], outbox: SimpleQueue[_Answer]) -> None:
        while (job := inbox.get()) is not None:
            try:
                outbox.put(self._do(job))
            except BaseException as error:  # noqa: BLE001 - the caller gets it
                outbox.put(error)

    def _next(self, outbox: SimpleQueue[_Answer]) -> Checked:
        if self._stopped is not None:
            raise self._stopped
        with self._waiting():
            answer = outbox.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer


#: The answer of a thread: a result, or the error that ended it, which is a fault of this program.
_Answer = Checked | BaseException


def read(job: Check) -> Checked:
    """Hash a file and its sidecars. Faults of the file are in the result."""
    try:
        size, digests, stamp = hash_file(job.path, job.digests, job.root)
        sidecar = _sidecar_sha256(job.sidecar, job.root)
        provenance = _sidecar_sha256(job.provenance, job.root)
    except OSError as error:
        return Checked(job.id, problem=as_problem(job, error))
    return Checked(
        job.id,
        size,
        digests,
        sidecar_sha256=sidecar,
        provenance_sha256=provenance,
        stamp=stamp if job.stamp is None else job.stamp,
    )


def _sidecar_sha256(path: str, root: str) -> str:
    """Return the digest of a sidecar, "" if it is absent or unreadable; raises `OSError`."""
    try:
        return hash_file(path, (), root).digests["sha256"] if path else ""
    except OSError as error:
        if _is_absent(error) or error.errno in _UNREADABLE:
            return ""
        raise


#: Errors of one file. All other errors may come from the disk, from the network that leads to it or
#: from this process, and say nothing about the file.
_UNREADABLE = {
    *(errno.EIO, errno.EACCES, errno.EPERM),
    *(getattr(errno, name) for name in ("EBADMSG", "EUCLEAN") if hasattr(errno, name)),
}


def _is_absent(error: OSError) -> bool:
    """Whether the file is absent, perhaps because a part of its path is no directory."""
    return isinstance(error, FileNotFoundError | NotADirectoryError)


def as_problem(job: Check, error: OSError) -> Problem:
    """Return the problem for a file that could not be read."""
    if isinstance(error, regular.NotAFileError):
        text = f"{error.filename or job.path}: {error.strerror}"
        return Problem(Reason.LOST, text, job.project, job.filename)
    is_written = bool(error.filename) and error.filename == job.metadata_path
    if _is_absent(error) and not is_written:
        return Problem(Reason.LOST, f"{job.path}: is not there", job.project, job.filename)
    verb = "written" if is_written else "read"
    text = f"{error.filename or job.path}: cannot be {verb}: {error.strerror or error}"
    is_of_file = error.errno in _UNREADABLE and not is_written
    reason = Reason.UNREADABLE if is_of_file else Reason.DISK
    return Problem(reason, text, job.project, job.filename)
