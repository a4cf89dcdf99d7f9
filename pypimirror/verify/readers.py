"""Hashing files on all cores, in threads of this process and in child processes.

The threads hash the first files themselves: that costs no start and no messages. After that, each
passes its jobs on to a child (`pypimirror.verify.hash_worker`), many in one message. Hashing
releases Python's lock, but each file takes it several times, and other threads want it too.
Archives may be hostile; reading them is the work of `pypimirror.verify.worker`.

The threads are daemons and end with the process, so nobody waits for one that a disk holds up.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from queue import Empty, SimpleQueue
from typing import Any

from pypimirror.domain.model import Problem, PypimirrorError, Reason
from pypimirror.storage.stamps import stamp_of
from pypimirror.system import children, regular
from pypimirror.system.workers import Cancelled, Note, log_note
from pypimirror.verify import hash_worker
from pypimirror.verify.hash_worker import Ahead, HashAnswer, Task
from pypimirror.verify.hashing import UNREADABLE, is_absent
from pypimirror.verify.protocol import Check, Checked

_MODULE = "pypimirror.verify.hash_worker"

#: Small jobs, or megabytes, that wait for each thread: enough for two messages to a child.
_WAITING = 128
#: Most jobs in one message to a child, and bytes after which it gets no further job.
_TOGETHER, _BYTES = 64, 8 << 20
#: Jobs that threads do before they start children.
_ENOUGH = 64

#: The result for a sidecar that a file does not have.
_NOTHING: Ahead = ((0, {"sha256": ""}, 0), 0)


class Readers:
    """Threads that hash files; they start when there is work. Safe to use from several threads.

    `waiting` returns a context manager that the caller's thread enters while it waits for results.
    `work` does one job; another function can read files that are not on a local disk. Children do
    not know it, so there are none then.
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
        self._children = _Children(0 if work else self._threads)

    def run(self, jobs: Iterable[Check]) -> Iterator[Checked]:
        """Do `jobs` and yield their results as they come, in any order.

        `jobs` is read lazily, in the caller's thread. Raises `Cancelled` soon after `cancel`.
        """
        inbox: _Inbox = SimpleQueue()
        # A signal handler may call `put` of a simple queue at any moment.
        outbox: SimpleQueue[_Answer] = SimpleQueue()
        self._outboxes.add(outbox)
        started = 0
        try:
            limit, out = _WAITING * self._threads, 0
            weights: dict[int, int] = {}
            for job in jobs:
                if (known := self._children.known(job)) is not None:
                    yield known
                    continue
                if started < self._threads:
                    started += 1
                    work = threading.Thread(target=self._work, args=(inbox, outbox), daemon=True)
                    work.start()
                weights[job.id] = min(job.cost, limit)
                out += weights[job.id]
                inbox.put(job)
                while out >= limit or not outbox.empty():
                    for result in self._next(outbox):
                        out -= weights.pop(result.id)
                        yield result
            while weights:
                for result in self._next(outbox):
                    del weights[result.id]
                    yield result
        finally:
            self._outboxes.discard(outbox)
            with contextlib.suppress(Empty):
                while True:  # nobody waits for their results
                    inbox.get_nowait()
            for _ in range(started):
                inbox.put(None)

    def cancel(self) -> None:
        """End all runs with `Cancelled`. Any thread or signal handler may call it."""
        self._stop(Cancelled("The work was cancelled."))

    def close(self) -> None:
        """End the children. Threads end with their run."""
        self._stop(Cancelled("The readers were closed."))
        self._children.close()

    def _stop(self, error: PypimirrorError) -> None:
        self._stopped = self._stopped or error
        for outbox in list(self._outboxes):
            outbox.put(self._stopped)
        self._children.kill()

    def _work(self, inbox: _Inbox, outbox: SimpleQueue[_Answer]) -> None:
        try:
            more = True
            while more:
                jobs, more = _take(inbox, 1)
                child = self._children.find() if jobs else None
                if child is not None:
                    self._pass_on(child, jobs, inbox, outbox)
                    self._children.give_back(child)
                    return
                outbox.put([self._do(job) for job in jobs])
        except BaseException as error:  # noqa: BLE001 - the caller gets it
            outbox.put(error)

    def _pass_on(
        self, child: _Child, jobs: list[Check], inbox: _Inbox, outbox: SimpleQueue[_Answer]
    ) -> None:
        """Let a child do these jobs and all that follow. It gets the next ones while it works."""
        sent: deque[list[Check]] = deque()
        more = True
        while jobs or sent or more:
            if jobs:
                child.send([_task(job) for job in jobs])
                sent.append(jobs)
            if sent and (len(sent) > 1 or not jobs):
                outbox.put(self._results(sent.popleft(), child.receive()))
            jobs = []
            if more:
                jobs, more = _take(inbox, _TOGETHER, wait=not sent)

    def _results(
        self, jobs: Sequence[Check], answers: Sequence[HashAnswer | None] | None
    ) -> list[Checked]:
        """Return the results of a child's jobs. Jobs that it could not do are done here."""
        results = []
        for job, answer in zip(jobs, answers or [None] * len(jobs), strict=True):
            if self._stopped is not None:
                raise self._stopped
            results.append(self._do(job) if answer is None else _checked(job, answer))
        return results

    def _next(self, outbox: SimpleQueue[_Answer]) -> list[Checked]:
        if self._stopped is not None:
            raise self._stopped
        with self._waiting():
            answer = outbox.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer


#: Jobs for the threads of a run; None ends one of them.
_Inbox = SimpleQueue[Check | None]
#: The answer of a thread: results, or the error that ended it, which is a fault of this program.
_Answer = list[Checked] | BaseException


def _take(inbox: _Inbox, most: int, *, wait: bool = True) -> tuple[list[Check], bool]:
    """Return the next jobs, and whether more may come."""
    jobs: list[Check] = []
    size = 0
    with contextlib.suppress(Empty):
        while len(jobs) < most and size < _BYTES:
            job = inbox.get(wait and not jobs)
            if job is None:
                return jobs, False
            jobs.append(job)
            size += job.size or 0
    return jobs, True


class _Children:
    """The child processes of `Readers`. Each is used by one thread at a time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()  # held while one is started
        self._all: list[_Child] = []
        self._idle: list[_Child] = []
        self._asked = 0  # how often one was looked for
        self._ahead: dict[str, Ahead] = {}  # files that were hashed ahead, by path
        self._is_ended = False

    def find(self) -> _Child | None:
        """Return a child that has no work. Start one if there is enough work for another one."""
        with contextlib.suppress(IndexError):
            return self._idle.pop()
        with self._lock:
            early = children.take_early(_MODULE) if self._most else None
            self._asked = self._asked + 1 if early is None else _ENOUGH + 1
            if len(self._all) >= self._most or self._asked <= _ENOUGH:
                return None
            try:
                child = _Child(early or children.start_apart(_MODULE))
            except OSError:  # the system starts no further process
                self._most = 0
                return None
            self._all.append(child)
            if self._is_ended:  # while it was starting
                child.kill()
        if early is not None:
            child.send([])  # this ends what it does ahead
            self._ahead = child.receive() or {}
            child.receive()
        return child

    def give_back(self, child: _Child) -> None:
        """Keep a child without work for the next thread."""
        self._idle.append(child)

    def known(self, job: Check) -> Checked | None:
        """Return the result of a job if all its files were hashed ahead and not touched since."""
        if not self._ahead or not {"sha256"}.issuperset(job.digests):
            return None
        found = []
        for path in (job.path, job.sidecar, job.provenance):
            ahead = self._ahead.pop(path, None) if path else _NOTHING
            if ahead is None or (path and not _is_untouched(path, job.root, ahead)):
                return None
            found.append(ahead[0])
        (size, digests, mark), (_, sidecar, _), (_, provenance, _) = found
        return _checked(job, (size, digests, mark, sidecar["sha256"], provenance["sha256"]))

    def kill(self) -> None:
        """Kill all children. It needs no lock."""
        self._is_ended = True
        for child in list(self._all):
            child.kill()

    def close(self) -> None:
        """Wait until the killed children have ended."""
        deadline = time.monotonic() + children.GRACE
        for child in self._all:
            child.wait(deadline)


class _Child:
    """The parent's side of a child process. `receive` notices if it is dead."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._process = process
        self._stdin, self._stdout = process.stdin.fileno(), process.stdout.fileno()
        self._is_killed = False
        self._words = threading.Thread(target=self._pass_words_on, daemon=True)
        self._words.start()

    def _pass_words_on(self) -> None:
        """Log all that it prints."""
        assert self._process.stderr is not None
        with self._process.stderr as words:
            for line in words:
                text = line.decode("utf-8", "replace").rstrip()
                log_note(Note("warning", f"worker {self._process.pid}: {text}"))

    def send(self, tasks: Sequence[Task]) -> None:
        """Send a message, also if it is dead."""
        with contextlib.suppress(OSError):
            hash_worker.send(self._stdin, tasks)

    def receive(self) -> Any:
        """Return its next answer; None if it is dead."""
        try:
            return hash_worker.receive(self._stdout)
        except (OSError, EOFError):
            if not self._is_killed:
                self.kill()
                self.wait(time.monotonic() + children.GRACE)
                ended = f"ended with status {self._process.returncode}"
                log_note(Note("warning", f"worker {self._process.pid} {ended}"))
            return None

    def kill(self) -> None:
        """Kill it. It needs no lock."""
        self._is_killed = True
        with contextlib.suppress(OSError):
            self._process.kill()

    def wait(self, deadline: float) -> None:
        """Wait until it has ended and all that it printed is in the log.

        Not longer than until `deadline` (monotonic seconds).
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, deadline - time.monotonic()))
        self._words.join(max(0.0, deadline - time.monotonic()))


def _is_untouched(path: str, root: str, ahead: Ahead) -> bool:
    """Whether a file is as it was when it was hashed ahead."""
    (_, _, mark), changed_at = ahead
    try:
        status = regular.status(path, root)
    except OSError:
        return False
    return status.st_ctime_ns == changed_at and stamp_of([status]) == mark


def _task(job: Check) -> Task:
    return job.path, job.root, job.digests, job.sidecar, job.provenance


def _checked(job: Check, answer: HashAnswer) -> Checked:
    """Turn the answer to a job into its result."""
    size, digests, mark, sidecar, provenance = answer
    return Checked(
        job.id,
        size,
        digests,
        sidecar_sha256=sidecar,
        provenance_sha256=provenance,
        stamp=mark if job.stamp is None else job.stamp,
    )


def read(job: Check) -> Checked:
    """Hash a file and its sidecars in this process. Faults of the file are in the result."""
    try:
        return _checked(job, hash_worker.hash_all(_task(job)))
    except OSError as error:
        return Checked(job.id, problem=as_problem(job, error))


def as_problem(job: Check, error: OSError) -> Problem:
    """Return the problem for a file that could not be read."""
    if isinstance(error, regular.NotAFileError):
        text = f"{error.filename or job.path}: {error.strerror}"
        return Problem(Reason.LOST, text, job.project, job.filename)
    is_written = bool(error.filename) and error.filename == job.metadata_path
    if is_absent(error) and not is_written:
        return Problem(Reason.LOST, f"{job.path}: is not there", job.project, job.filename)
    verb = "written" if is_written else "read"
    text = f"{error.filename or job.path}: cannot be {verb}: {error.strerror or error}"
    is_of_file = error.errno in UNREADABLE and not is_written
    reason = Reason.UNREADABLE if is_of_file else Reason.DISK
    return Problem(reason, text, job.project, job.filename)
