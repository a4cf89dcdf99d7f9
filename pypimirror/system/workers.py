"""The parent's handle on a pool of child processes that speak JSON lines.

Here lives everything that is the same whatever the children do: how many there are, spreading
jobs over them, bringing results back to whoever asked, and what happens when a child dies. One
child's process and pipes are `pypimirror.system.children`. What a job is, and how it is done, is
the business of the child's module; nothing here knows HTTP.

The rules:

* A child gets one hello line, then jobs; it answers each with one result of the same `id`.
* Children start at the first job, and only as many as there is work for.
* A job goes to the child with the least to do, measured in `Job.cost`.
* The jobs of a child that died are given once to another. A job whose child dies twice is
  answered by `Job.failed`, with the reason `worker`.
* Children that do one job at a time, in order (`in_order`), died of the oldest: the others are
  given away without being blamed, and before it. Their queues are measured in `Job.cost` too, so
  that little is under way when the caller stops asking.
* Several threads may call `Workers.run` at once on one pool.
* Locks are never taken by `Workers.cancel`, so that a signal handler may call it.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar, cast

import msgspec

from pypimirror.domain.model import Problem, PypimirrorError, Reason
from pypimirror.system.children import GRACE, Child

#: What a child gets to do before another child is started, measured in `Job.cost`.
ENOUGH_FOR_ONE = 16
#: Jobs that are taken from the caller before results are looked for again.
BATCH = 64


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """Bytes received for a job since the last such line; at most a few lines a second."""

    id: int
    received: int


class Note(msgspec.Struct, frozen=True, tag="note"):
    """A line for the parent's log."""

    level: str  #: a name of the logging module, lower case
    message: str


class Job(Protocol):
    """What a job must offer; it is a `msgspec.Struct` with a field `id`."""

    @property
    def id(self) -> int:
        """The caller's number for this job; its result carries the same."""

    @property
    def cost(self) -> int:
        """Effort, in units of a small job."""

    def failed(self, problem: Problem) -> Any:
        """Return the result that says that this job failed."""


class Cancelled(PypimirrorError):  # noqa: N818  (not an error: somebody asked for it)
    """The pool was cancelled or closed while a run was under way."""


class WorkersError(PypimirrorError):
    """The children die before they answer anything: nothing can be done with them."""


J = TypeVar("J", bound=Job)
R = TypeVar("R")


def log_note(note: Note) -> None:
    """Pass a child's note to the log."""
    level = logging.getLevelNamesMapping().get(note.level.upper(), logging.WARNING)
    logging.getLogger("pypimirror.system.workers").log(level, "%s", note.message)


class _Run:
    """One call of `Workers.run`: where its results go."""

    __slots__ = ("inbox",)

    def __init__(self) -> None:
        # A SimpleQueue, since its put may be called by a signal handler at any moment.
        self.inbox: SimpleQueue[list[_Event] | PypimirrorError] = SimpleQueue()


class _Ticket:
    """A job on its way, with the run that it belongs to."""

    __slots__ = ("deaths", "job", "run", "weight")

    def __init__(self, job: Any, run: _Run, weight: int) -> None:
        self.job = job
        self.run = run
        self.weight = weight  #: how much it counts against what may be out
        self.deaths = 0  #: of children, that it may be to blame for


class _Worker(Child):
    """A child with the jobs that it has."""

    def __init__(self, pool: Workers[Any, Any]) -> None:
        self._pool = pool
        self.tickets: dict[int, _Ticket] = {}
        self.load = 0  #: the cost of its jobs
        self.spoke = False  #: whether it ever got as far as to say something
        super().__init__(pool.module)

    def on_lines(self, lines: list[bytes]) -> None:
        self._pool._arrived(self, lines)

    def on_error_line(self, text: str) -> None:
        self._pool.on_note(Note("warning", f"worker {self.process.pid}: {text}"))

    def on_end(self) -> None:
        self._pool._ended(self)


#: A ticket with its result, with a Progress, or with None where its child died.
_Event = tuple[_Ticket, Any]


class Workers(Generic[J, R]):
    """A pool of child processes that answer jobs.

    `module` is run as `python -P -m module`; `hello` is the first line it gets; `decoder` reads
    its lines (results, `Progress`, `Note`). At most `in_flight` jobs for each child are out at
    once in each run; by default twice `hello.connections`. `in_order` is for children that do one
    job at a time, in the order they got them; `in_flight` is a cost then, and at least one job.
    `waiting` gives what the caller's thread enters while it waits for results.
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
        # Held while jobs are given out, where children must get them in the order of their tickets.
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

        `jobs` is taken from lazily, in the caller's thread, and must not wait for results of
        this run. `on_progress` gets a job and the bytes that came in for it since the last
        call, in the caller's thread too. A job's `id` is the caller's own affair: the pool
        gives jobs numbers of its own and puts the caller's back into the results.

        Raises `Cancelled` soon after `cancel` or `close`, `WorkersError` where children die
        before they have answered anything.
        """
        run = _Run()
        self._runs.add(run)
        try:
            yield from self._pump(run, iter(jobs), on_progress)
        finally:
            self._runs.discard(run)

    def cancel(self) -> None:
        """End all runs with `Cancelled` and kill the children. Any thread or signal handler may."""
        self._stop(Cancelled("The work was cancelled."))
        for child in list(self._children):
            child.kill()

    def close(self) -> None:
        """End the children: their input first; those that stay are killed."""
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
                self._send(sorted(again, key=_deaths_of))  # what may be deadly comes last

    def _weight(self, job: J) -> int:
        return min(job.cost, self._in_flight) if self._in_order else 1

    def _send(self, tickets: list[_Ticket]) -> None:
        """Give each ticket to the child with the least to do."""
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
        """Return the child for the next job, a new one where all have enough."""
        if self._stopped is not None:
            raise self._stopped
        best = min(self._children, key=_load_of, default=None)
        if best is not None and (
            len(self._children) >= self._processes or best.load < ENOUGH_FOR_ONE
        ):
            return best
        child = self._start()
        if self._stopped is not None:  # cancelled meanwhile, without having seen this child
            child.kill()
        child.write(self._hello)  # before any other thread may choose it
        return child

    def _start(self) -> _Worker:
        try:
            child = _Worker(self)
        except OSError as error:
            raise WorkersError(f"No worker process can be started: {error}.") from error
        self._children.append(child)
        return child

    def _arrived(self, child: _Worker, lines: list[bytes]) -> None:
        """Hand the lines of a child to the runs that wait for them."""
        events: defaultdict[_Run, list[_Event]] = defaultdict(list)
        answers: list[Any] = []
        for line in lines:
            if not line:
                continue
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
                    # Decoded just now and known to nobody else: no copy is needed.
                    msgspec.structs.force_setattr(answer, "id", ticket.job.id)
                events[ticket.run].append((ticket, answer))
        for answer in answers:
            if isinstance(answer, Note):
                self.on_note(answer)
        for run, found in events.items():
            run.inbox.put(found)

    def _ended(self, child: _Worker) -> None:
        """A child's output ended: give what it still had back to its runs."""
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
            said = "\n".join(child.last_words) or "(nothing)"
            self._stop(
                WorkersError(
                    f"The workers end before they answer anything, the last with status {status}."
                    f" It said: {said}"
                )
            )
        for run, found in events.items():
            run.inbox.put(found)


def _load_of(child: _Worker) -> int:
    return child.load


def _deaths_of(ticket: _Ticket) -> int:
    return ticket.deaths


_DIED_TWICE = Problem(
    Reason.WORKER,
    "The worker process ended twice while it had this job. The next run tries it again; "
    "the log says how the worker ended.",
)
