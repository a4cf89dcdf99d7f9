"""Children that work on a run: one for each core. The process that leads the run watches them.

The rules:

* A child is a worker like any other (`catalog.claims`): it claims projects, takes them through the
  stages, and claims the next. The leading process works on none of them meanwhile.
* Children share the connections of one process (`shares`), so the upstream sees no more of them.
* A child ends when its input ends. So it ends with the leading process, however that ends.
* If a child dies, its claims are free, and others take its projects. Another child is started in
  its place, at most `RESTARTS` times in a run. The leading process does what no child did.
* A child that says nothing for `SILENCE` seconds hangs or was stopped. It is killed: on SQLite, it
  may be in the middle of a transaction, and all others would wait for it.
* If one child cannot continue, because the disk is full or the catalog does not answer, the others
  are ended too, and the run ends with that child's problem.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

import msgspec

from pypimirror.catalog.queries.history import batches
from pypimirror.catalog.queries.work import workers
from pypimirror.config.settings import Config
from pypimirror.domain.model import Stage
from pypimirror.pipeline.download import staging
from pypimirror.pipeline.executors import handover
from pypimirror.pipeline.executors.messages import (
    Began,
    Ended,
    FailureReport,
    LogLine,
    Message,
    Moved,
)
from pypimirror.pipeline.run import Run, StoppedError
from pypimirror.storage.slots import ROOM, Slots
from pypimirror.system.children import Child
from pypimirror.system.workers import Cancelled

MODULE = "pypimirror.pipeline.executors.child"

#: Most children that are started in place of dead ones, in one run.
RESTARTS = 3

#: Seconds without a word after which a child is killed. A child that lives says something every
#: `messages.ALIVE` seconds.
SILENCE = 30.0

#: Seconds that a cancelled child has to give back its claims.
GRACE = 2.0

#: Most different messages that are remembered, so that each is shown once.
_MOST_TOLD = 10_000


def shares(config: Config, number: int) -> list[Config]:
    """Return the configurations of up to `number` children, which share out the connections.

    There are fewer if there are not enough connections for so many.
    """
    processes, connections = config.processes, config.download.connections
    number = min(number, processes * connections)
    found = []
    for child in range(number):
        if processes >= number:
            mine = {"processes": _share(processes, number, child)}
        else:
            mine = {"processes": 1, "connections": _share(processes * connections, number, child)}
        download = config.download.model_copy(update=mine)
        found.append(config.model_copy(update={"download": download}))
    return found


def _share(whole: int, number: int, place: int) -> int:
    return whole // number + (place < whole % number)


def work(
    run: Run, cores: int, stages: Sequence[Stage], number: int, small_ends: bool
) -> tuple[int, bool]:
    """Take all projects that are free through `stages`, in children, and wait for them.

    The other arguments are those of `loop.WorkOff`. Return the number of the last batch, and
    whether everything is done: projects may be left if children died, or if there is only one
    child.
    Raises `StoppedError` if the run cannot go on, and `Cancelled`.
    """
    found = shares(run.config, cores)
    if len(found) < 2:
        return number - 1, False
    with _Team(run, stages, found, number, small_ends) as team:
        team.wait()
    with run.catalog.read() as connection:
        last = batches.last(connection, run.id)
    return max(last, number - 1), not team.deaths


class _Member(Child):
    """A child and what it has said."""

    def __init__(self, team: _Team, place: int) -> None:
        self._team = team
        self.place = place
        self.worker = 0  #: its id in the catalog
        self.ended: Ended | None = None
        self.heard = time.monotonic()
        super().__init__(MODULE)

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"worker {self.place + 1}"

    def on_lines(self, lines: list[bytes]) -> None:
        self.heard = time.monotonic()
        for line in filter(None, lines):
            try:
                self._team.told(self, _decode(line))
            except msgspec.DecodeError as error:
                text = f"unreadable line from {self.name} ({error}): {line[:200]!r}"
                self._team.run.reporter.note("error", text)

    def on_error_line(self, text: str) -> None:
        self._team.run.reporter.note("warning", f"{self.name}: {text}")

    def on_end(self) -> None:
        self._team.inbox.put(self)


_decode = msgspec.json.Decoder(Message).decode


class _Team:
    """The children of a run."""

    def __init__(
        self,
        run: Run,
        stages: Sequence[Stage],
        configurations: Sequence[Config],
        number: int,
        small_ends: bool,
    ) -> None:
        self.run = run
        self.deaths = 0
        #: Children that have ended; None means that the run was cancelled.
        self.inbox: SimpleQueue[_Member | None] = SimpleQueue()
        self._stages = tuple(stages)
        self._number, self._small_ends = number, small_ends
        self._shares = configurations
        self._living: set[_Member] = set()
        self._said: dict[str, int] = {}  # messages, and the child that said each first
        self._saying = threading.Lock()

    def __enter__(self) -> Self:
        number = len(self._shares)
        self._slots = Slots(self.run.workspace.staging / ROOM, number + 1, number)
        self.run.on_cancel.append(self._wake)
        try:
            for place in range(number):
                self._start(place)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def wait(self) -> None:
        """Wait until no child works any more. Raises `StoppedError` and `Cancelled`."""
        while self._living:
            try:
                member = self.inbox.get(timeout=self._patience())
            except Empty:
                self._kill_silent()
                continue
            if member is None or self.run.cancelled.is_set():
                raise Cancelled("cancelled")
            self._living.discard(member)
            self._settle(member)

    def _wake(self) -> None:
        self.inbox.put(None)

    def _start(self, place: int) -> None:
        """Start a child. Those at the same place have the same numbers for their batches."""
        run = self.run
        child = _Member(self, place)
        self._living.add(child)
        orders = handover.of_run(
            run,
            self._shares[place],
            self._stages,
            self._number + place,
            small_ends=self._small_ends,
            place=place,
            workers=len(self._shares),
        )
        child.write(handover.encode(orders))

    def _patience(self) -> float:
        """Return the seconds until a child has said nothing for too long."""
        silent_since = min(member.heard for member in self._living)
        return max(0.0, silent_since + SILENCE - time.monotonic())

    def _kill_silent(self) -> None:
        for member in self._living:
            if time.monotonic() - member.heard >= SILENCE:
                member.heard = time.monotonic()  # it takes a moment to die
                self.run.reporter.note(
                    "warning",
                    f"{member.name} (process {member.process.pid}) has said nothing for "
                    f"{SILENCE:.0f} s, so it was killed",
                )
                member.kill()

    def told(self, member: _Member, message: Message) -> None:
        """Pass on what a child says. Its own thread calls this."""
        reporter = self.run.reporter
        match message:
            case Began():
                member.worker = message.worker
            case Moved():
                for stage, (things, size, done, received) in message.stages.items():
                    if things or size:
                        reporter.begin(stage, things, size)
                    if done or received:
                        reporter.advance(stage, done, received)
                reporter.finished(message.finished)
            case FailureReport():
                reporter.problem(message.stage, message.problem)
            case LogLine():
                if self._is_new(member, message.message):
                    _tell(self.run, message)
            case Ended():
                member.ended = message

    def _is_new(self, member: _Member, text: str) -> bool:
        """Whether no other child has said the same."""
        with self._saying:
            if len(self._said) > _MOST_TOLD:
                self._said.clear()
            return self._said.setdefault(text, member.place) == member.place

    def _settle(self, member: _Member) -> None:
        """Take over the results of a child that has ended."""
        self._slots.clear(member.place)
        ended = member.ended
        if ended is None:
            self._mourn(member)
            return
        self._learn(ended)
        if ended.stopped is not None:
            self.run.ledger.stage = ended.stage
            raise StoppedError(ended.stopped)

    def _learn(self, ended: Ended) -> None:
        self.run.ledger.learn(
            ended.counts,
            ended.unsure,
            ended.unreachable,
            ended.no_room,
            answered=ended.answered,
        )

    def _learn_from_catalog(self, dead: Sequence[_Member]) -> None:
        """Take over the results of dead children from the catalog."""
        ids = {member.worker for member in dead}
        with self.run.catalog.read() as connection:
            found = workers.of_run(connection, self.run.id)
        self.run.ledger.learn_from_catalog([row for row in found if row.id in ids])

    def _mourn(self, member: _Member) -> None:
        """Report a dead child, and start another one in its place."""
        status = member.process.returncode
        ended = f"{member.name} (process {member.process.pid}) ended with status {status}"
        self.deaths += 1
        staging.collect_dead(self.run.catalog, self.run.workspace)
        self._learn_from_catalog([member])
        if self.deaths > RESTARTS:
            again = "no other is started in its place"
        else:
            again = "another one is started in its place"
            self._start(member.place)
        self.run.reporter.note("warning", f"{ended}; {again}")

    def _end(self) -> None:
        """End the children that still work."""
        with contextlib.suppress(ValueError):
            self.run.on_cancel.remove(self._wake)
        for member in self._living:
            member.end_input()
        deadline = time.monotonic() + GRACE
        for member in self._living:
            member.wait(deadline)
        for member in self._living:
            member.join()
            if member.ended is not None:
                self._learn(member.ended)
        self._slots.close()
        self.run.workspace.unstage(ROOM)
        staging.collect_dead(self.run.catalog, self.run.workspace)
        if dead := [member for member in self._living if member.ended is None]:
            self._learn_from_catalog(dead)


def _tell(run: Run, told: LogLine) -> None:
    """Say what a child has said."""
    if not told.level:
        run.reporter.announce(told.message)
    elif told.logger == "pypimirror":
        run.reporter.note(told.level, told.message)
    else:
        level = logging.getLevelNamesMapping().get(told.level.upper(), logging.WARNING)
        logging.getLogger(told.logger).log(level, "%s", told.message)
