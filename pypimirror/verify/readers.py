"""Hashing files on all cores, in threads of this process.

Hashing and reading let other threads run meanwhile, so a thread is as good as a process here, and
costs no start, no messages and no second copy of the program. What is more than hashing (reading
archives, which may be hostile) is for `pypimirror.verify.worker`, in processes of its own.

Nobody waits for a thread that a disk holds up: they are daemons, and end with the process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from queue import SimpleQueue

from pypimirror.model import Problem, PypimirrorError, Reason
from pypimirror.verify.digests import hash_file
from pypimirror.verify.protocol import Check, Checked

#: Small jobs, or megabytes, that wait for each thread: enough that none is idle, and little that
#: is still done when nothing more is asked for.
_WAITING = 32


class Readers:
    """Threads that hash files; they start when there is work. Safe to use from several threads.

    `waiting` gives what the caller's thread enters while it waits for results.
    """

    def __init__(
        self,
        threads: int,
        waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._threads = max(1, threads)
        self._waiting = waiting
        self._stopped: PypimirrorError | None = None
        self._outboxes: set[SimpleQueue[_Answer]] = set()

    def run(self, jobs: Iterable[Check]) -> Iterator[Checked]:
        """Do `jobs` and yield their results as they come, in any order.

        `jobs` is taken from lazily, in the caller's thread. Raises what `cancel` was told.
        """
        inbox: SimpleQueue[Check | None] = SimpleQueue()
        # Simple queues, since their put may be called by a signal handler at any moment.
        outbox: SimpleQueue[_Answer] = SimpleQueue()
        self._outboxes.add(outbox)
        started = 0
        try:
            limit, out = _WAITING * self._threads, 0
            weights: dict[int, int] = {}
            for job in jobs:
                if started < self._threads:
                    started += 1
                    work = threading.Thread(target=_work, args=(inbox, outbox), daemon=True)
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

    def cancel(self, error: PypimirrorError) -> None:
        """End all runs with `error`. Any thread or signal handler may call it."""
        self._stopped = self._stopped or error
        for outbox in list(self._outboxes):
            outbox.put(self._stopped)

    def _next(self, outbox: SimpleQueue[_Answer]) -> Checked:
        if self._stopped is not None:
            raise self._stopped
        with self._waiting():
            answer = outbox.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer


#: What a thread says: a result, or the error that ended it, which is a fault of this program.
_Answer = Checked | BaseException


def _work(inbox: SimpleQueue[Check | None], outbox: SimpleQueue[_Answer]) -> None:
    while (job := inbox.get()) is not None:
        try:
            outbox.put(read(job))
        except BaseException as error:  # noqa: BLE001 - whoever waits must hear of it
            outbox.put(error)


def read(job: Check) -> Checked:
    """Hash a file and what is beside it. What is wrong with it is in the result."""
    try:
        size, digests = hash_file(job.path, job.digests)
        sidecar = sidecar_sha256(job.sidecar) if job.sidecar else ""
        provenance = sidecar_sha256(job.provenance) if job.provenance else ""
    except OSError as error:
        return Checked(job.id, problem=as_problem(job, error))
    return Checked(job.id, size, digests, sidecar_sha256=sidecar, provenance_sha256=provenance)


def sidecar_sha256(path: str) -> str:
    """Return the digest of what is beside a file, "" where it is not; raises `OSError`."""
    try:
        return hash_file(path, ())[1]["sha256"]
    except FileNotFoundError:
        return ""


def as_problem(job: Check, error: OSError) -> Problem:
    """Return why a file could not be looked at."""
    if isinstance(error, FileNotFoundError):
        return Problem(Reason.LOST, f"{job.path}: is not there", job.project, job.filename)
    verb = "written" if error.filename and error.filename == job.metadata_path else "read"
    text = f"{error.filename or job.path}: cannot be {verb}: {error.strerror or error}"
    return Problem(Reason.DISK, text, job.project, job.filename)
