"""The parent's side of a pool of child processes that communicate in JSON lines.

This module has everything that does not depend on what the children do: their number, giving jobs
to them, bringing results back, and handling dead children. `pypimirror.system.children` has the
process and the pipes of one child. The child's module defines its jobs; nothing here knows HTTP.

The rules:

* A child first gets one hello line, then jobs. It answers each with one result of the same `id`.
* Children start with the first job. Another one starts when all have enough work: half of what
  each may have in progress, measured in `Job.cost`.
* A job goes to the child with the least work. If children announce that they are up (`announces`),
  others get the jobs of a starting child, until they have twice as much.
* The jobs of a dead child go to another child once. If that dies, too, `Job.failed` answers.
* Children that do one job at a time, in order (`in_order`), died because of the oldest job. The
  other jobs are not blamed, and are given away first. `Job.cost` limits their queues.
* Several threads may call `Workers.run` of one pool at the same time.
* `Workers.cancel` takes no lock, so a signal handler may call it.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from operator import attrgetter
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar, cast

import msgspec

from pypimirror.domain.model import Problem, PypimirrorError, Reason
from pypimirror.system.children import GRACE, Child

#: Most jobs that are taken from the caller before results are checked again.
BATCH = 64


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """Bytes received for a job since the last such line. At most a few lines are sent per
    second.
    """

    id: int
    received: int


class Note(msgspec.Struct, frozen=True, tag="note"):
    """A line for the parent's log."""

    level: str  #: lower-case name of a level of the logging module
    message: str


class Job(Protocol):
    """The interface of a job. It is a `msgspec.Struct` with a field `id`."""

    @property
    def id(self) -> int:
        """The caller's number for this job. Its result has the same number."""

    @property
    def cost(self) -> int:
        """The effort, in units of a small job."""

    def failed(self, problem: Problem) -> Any:
        """Return the result for a failed job."""


class Cancelled(PypimirrorError):  # noqa: N818  (not an error: somebody asked for it)
    """The pool was cancelled or closed during a run."""


class WorkersError(PypimirrorError):
    """The children die before they answer anything, so they are useless."""


J = TypeVar("J", bound=Job)
R = TypeVar("R")


def log_note(note: Note) -> None:
    """Pass a child's note to the log."""
    import logging  # imported here because a sync begins with this module

    level = logging.getLevelNamesMapping().get(note.level.upper(), logging.WARNING)
    logging.getLogger("pypimirror.system.workers").log(level, "%s", note.message)


class _Run:
    """One call of `Workers.run`, and the queue for its results."""

    __slots__ = ("inbox",)

    def __init__(self) -> None:
        # A SimpleQueue, because a signal handler may call its put at any moment.
        self.inbox: SimpleQueue[list[_Event] | PypimirrorError] = SimpleQueue()


class _Ticket:
    """A job in progress and the run that it belongs to."""

    __slots__ = ("deaths", "job", "run", "weight")

    def __init__(self, job: Any, run: _Run, weight: int) -> None:
        self.job = job
        self.run = run
        self.weight = weight  #: its share of the limit for jobs in progress
        self.deaths = 0  #: number of children that it may have killed


class _Worker(Child):
    """A child and its jobs."""

    def __init__(self, pool: Workers[Any, Any]) -> None:
        self._pool = pool
        self.tickets: dict[int, _Ticket] = {}
        self.load = 0  #: the cost of its jobs
        self.spoke = False  #: whether it ever sent a line
        super().__init__(pool.module)

    def on_lines(self, lines: list[bytes]) -> None:
        self._pool._arrived(self, lines)

    def on_error_line(self, text: str) -> None:
        self._pool.on_note(Note("warning", f"worker {self.process.pid}: {text}"))

    def on_end(self) -> None:
        self._pool._ended(self)


#: A ticket with its result, with a Progress, or with None because its child died.
_Event = tuple[_Ticket, Any]


class Workers(Generic[J, R]):
    """A pool of child processes that answer jobs.

    `module` is run as `python -P -m module`. `hello` is the first line that a child gets. `decoder`
    decodes the lines of children (results, `Progress`, `Note`). In each run, at most `in_flight`
    jobs per child are in progress, by default twice `hello.connections`. `in_order` is for children
    that do one job at a time in order; then `in_flight` is a cost, and one job is always allowed.
    `announces` is for children that write an empty line when they are up.
    `waiting` returns a context that the caller's thread enters while it waits for results.
    """

    def __init__(
        self,
        *,
        module: str,
        processes: int,
        hello: msgspec.Struct,
        decoder: msgspec.json.Decoder[Any],
        in_flight: int | None = None,
        in_order: bool = False,
        announces: bool = False,
        on_note: Callable[[Note], None] = log_note,
        waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.module = module
        self.on_note = on_note
        self._waiting = waiting
        self._processes = max(1, processes)
        self._in_flight = in_flight or 2 * int(getattr(hello, "connections", 32))
        self._encoder = msgspec.json.Encoder()
        self._hello = self._encoder.encode(hello) + b"\n"
        self._decoder = decoder
        self._ids = itertools.count(1)
        self._lock = threading.Lock()  # guards the children's tickets and loads
        self._in_order = in_order
        self._announces = announces
        # Held while jobs are sent, if children must get them in the order of their tickets.
        self._sending = threading.Lock() if in_order else nullcontext()
        self._children: list[_Worker] = []
        self._runs: set[_Run] = set()
        self._stillborn = 0
        self._stopped: PypimirrorError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def run(
        self, jobs: Iterable[J], *, on_progress: Callable[[J, int], None] | None = None
    ) -> Iterator[R]:
        """Do `jobs` and yield their results as they arrive, in any order.

        `jobs` is read lazily, in the caller's thread, and must not wait for results of this run.
        `on_progress` gets a job and the bytes that arrived for it since the last call, also in the
        caller's thread. A job's `id` is chosen by the caller: the pool uses its own numbers and
        restores the caller's in the results.

        Raises `Cancelled` soon after `cancel` or `close`, and `WorkersError` if children die before
        they have answered anything.
        """
        run = _Run()
        self._runs.add(run)
        try:
            yield from self._pump(run, iter(jobs), on_progress)
        finally:
            self._runs.discard(run)

    def cancel(self) -> None:
        """End all runs with `Cancelled` and kill the children. Any thread or signal handler may
        call it.
        """
        self._stop(Cancelled("The work was cancelled."))
        for child in list(self._children):
            child.kill()

    def close(self) -> None:
        """End the children by closing their input. Those that do not end are killed."""
        self._stop(Cancelled("The workers were closed."))
        children = list(self._children)
        for child in children:
            child.end_input()
        deadline = time.monotonic() + GRACE
        for child in children:
            child.wait(deadline)
        for child in children:
            child.join()

    def _stop(self, error: PypimirrorError) -> None:
        if self._stopped is None:
            self._stopped = error
        for run in list(self._runs):
            run.inbox.put(self._stopped)

    def _pump(
        self, run: _Run, source: Iterator[J], on_progress: Callable[[J, int], None] | None
    ) -> Iterator[R]:
        limit = self._in_flight * self._processes
        out = 0
        more = True
        while True:
            if self._stopped is not None:
                raise self._stopped
            batch: list[_Ticket] = []
            while more and out < limit and len(batch) < BATCH:
                job = next(source, None)
                if job is None:
                    more = False
                    break
                batch.append(_Ticket(job, run, self._weight(job)))
                out += batch[-1].weight
            if batch:
                self._send(batch)
            if not out and not more:
                return
            try:
                events = run.inbox.get_nowait()
            except Empty:
                if more and out < limit:
                    continue
                with self._waiting():
                    events = run.inbox.get()
            if isinstance(events, PypimirrorError):
                raise events
            again: list[_Ticket] = []
            for ticket, answer in events:
                if isinstance(answer, Progress):
                    if on_progress is not None:
                        on_progress(ticket.job, answer.received)
                    continue
                if answer is None:
                    if ticket.deaths < 2:
                        again.append(ticket)
                        continue
                    answer = ticket.job.failed(_DIED_TWICE)
                out -= ticket.weight
                yield cast("R", answer)
            if again:
                self._send(sorted(again, key=_deaths_of))  # jobs that may kill a child come last

    def _weight(self, job: J) -> int:
        return min(job.cost, self._in_flight) if self._in_order else 1

    def _send(self, tickets: list[_Ticket]) -> None:
        """Give each ticket to the child with the least work."""
        lines: defaultdict[_Worker, list[bytes]] = defaultdict(list)
        with self._sending:
            with self._lock:
                for ticket in tickets:
                    child = self._choose()
                    number = next(self._ids)
                    child.tickets[number] = ticket
                    child.load += ticket.job.cost
                    lines[child].append(
                        self._encoder.encode(msgspec.structs.replace(ticket.job, id=number))
                    )
            for child, written in lines.items():
                written.append(b"")
                child.write(b"\n".join(written))

    def _choose(self) -> _Worker:
        """Return the child for the next job. Start a new one if all have enough work."""
        if self._stopped is not None:
            raise self._stopped
        best = min(self._children, key=_load_of, default=None)
        is_busy = best is None or best.load >= self._in_flight // 2
        if best is None or (is_busy and len(self._children) < self._processes):
            best = self._start()
        if not self._announces or best.is_up:
            return best
        up = min((c for c in self._children if c.is_up), key=_load_of, default=best)
        return up if up.load < self._in_flight else best

    def _start(self) -> _Worker:
        try:
            child = _Worker(self)
        except OSError as error:
            raise WorkersError(f"No worker process can be started: {error}.") from error
        self._children.append(child)
        if self._stopped is not None:  # cancelled in between, without killing this child
            child.kill()
        child.write(self._hello)  # before another thread can choose it
        return child

    def _arrived(self, child: _Worker, lines: list[bytes]) -> None:
        """Pass the lines of a child to the runs that wait for them."""
        events: defaultdict[_Run, list[_Event]] = defaultdict(list)
        answers: list[Any] = []
        for line in filter(None, lines):
            try:
                answers.append(self._decoder.decode(line))
            except msgspec.DecodeError as error:
                text = f"unreadable line from a worker ({error}): {line[:200]!r}"
                self.on_note(Note("error", text))
        with self._lock:
            if answers:
                child.spoke = True
                self._stillborn = 0
            for answer in answers:
                if isinstance(answer, Note):
                    continue
                ticket = child.tickets.get(answer.id)
                if ticket is None:
                    continue
                if not isinstance(answer, Progress):
                    del child.tickets[answer.id]
                    child.load -= ticket.job.cost
                    # Just decoded, so no other code refers to it: no copy is needed.
                    msgspec.structs.force_setattr(answer, "id", ticket.job.id)
                events[ticket.run].append((ticket, answer))
        for answer in answers:
            if isinstance(answer, Note):
                self.on_note(answer)
        for run, found in events.items():
            run.inbox.put(found)

    def _ended(self, child: _Worker) -> None:
        """Return the jobs of a child that has ended to their runs."""
        events: defaultdict[_Run, list[_Event]] = defaultdict(list)
        with self._lock:
            self._children.remove(child)
            for place, ticket in enumerate(child.tickets.values()):
                ticket.deaths += not self._in_order or place == 0
                events[ticket.run].append((ticket, None))
            child.tickets.clear()
            self._stillborn += not child.spoke
            broken = self._stillborn > 2 + 2 * self._processes
        if self._stopped is not None:
            return
        status = child.process.returncode
        self.on_note(Note("warning", f"worker {child.process.pid} ended with status {status}"))
        if broken:
            last_words = "\n".join(child.last_words) or "(nothing)"
            self._stop(
                WorkersError(
                    f"The workers end before they answer anything, the last with status {status}."
                    f" It said: {last_words}"
                )
            )
        for run, found in events.items():
            run.inbox.put(found)


_load_of, _deaths_of = attrgetter("load"), attrgetter("deaths")

_DIED_TWICE = Problem(
    Reason.WORKER,
    "The worker process ended twice while it had this job. The next run tries it again; "
    "the log says how the worker ended.",
)
