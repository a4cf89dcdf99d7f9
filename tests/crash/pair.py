"""An executor with two workers, in processes that are forked from the one that leads the run.

So nothing is imported again, and hundreds of runs can be killed. They are forked before the run
begins, because a client of object storage does not survive that, and wait for what to do. Each
batch has one project.
"""

from __future__ import annotations

import gc
import os
import select
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gevent
import msgspec
from msgspec.structs import replace
from sqlalchemy import text

from pypimirror.catalog.queries.history import batches
from pypimirror.catalog.states import INLINE
from pypimirror.domain.model import Stage
from pypimirror.pipeline.download import staging
from pypimirror.pipeline.executors import child, handover, loop
from pypimirror.pipeline.executors.handover import Handover
from pypimirror.pipeline.executors.loop import Call, Executor, WorkOff, at_work
from pypimirror.pipeline.executors.messages import Ended, Relay
from pypimirror.pipeline.run import Run, StoppedError
from tests.pools import inline

OnStep = Callable[[str, str], None]


def ignored(what: str, where: str) -> None:
    """Take no notice of a step."""


class Watched:
    """Passes steps on to what watches them now."""

    def __init__(self) -> None:
        self.on_step: OnStep = ignored

    def __call__(self, what: str, where: str) -> None:
        self.on_step(what, where)


class Answer(msgspec.Struct):
    """What a worker says at its end; nothing if it was killed."""

    ended: Ended | None = None
    steps: int = 0
    at: tuple[str, str] | None = None
    error: str = ""


def _learn(run: Run, ended: Ended | None) -> None:
    if ended is None:
        return
    run.ledger.learn(
        ended.counts, ended.unsure, ended.unreachable, ended.no_room, answered=ended.answered
    )
    if ended.stopped is not None:
        run.ledger.stage = ended.stage
        raise StoppedError(ended.stopped)


def pair(fate: Any, watched: Watched) -> Executor:
    """Return an executor with two workers, of which `fate` watches the first.

    They work once: what comes later in a run is done by the process that leads it.
    """
    loop.BATCH_SIZE = loop.SMALLEST_BATCH = 1
    waiting: list[_Forked] = []
    for on_step in (fate, ignored):
        waiting.append(_fork(waiting, watched, on_step))

    @contextmanager
    def executor(call: Call) -> Iterator[WorkOff]:
        led: list[Run] = []

        def work_off(run: Run, stages: Sequence[Stage], number: int, small_ends: bool) -> int:
            led.append(run)
            for place, forked in enumerate(waiting):
                orders = handover.of_run(
                    run, run.config, stages, number + place, small_ends=True, place=place, workers=2
                )
                forked.begin(orders)
                if not place:
                    _wait_for_claim(run, forked)
            answers = [forked.answer() for forked in waiting]
            waiting.clear()
            if answers:
                fate.reached, fate.at = answers[0].steps, answers[0].at
            staging.collect_dead(run.catalog, run.workspace)
            for answer in answers:
                assert not answer.error, answer.error
                _learn(run, answer.ended)
            with run.catalog.read() as connection:
                last = batches.last(connection, run.id)
            with at_work(run, INLINE, "1") as here:
                return replace(here, lanes=1).work_off(run, call, stages, last + 1, small_ends)

        yield work_off
        for forked in waiting:
            forked.answer()
        for run in led[-1:]:
            staging.sweep(run.catalog, run.workspace)

    return executor


def _wait_for_claim(run: Run, forked: _Forked) -> None:
    """Wait until a worker has claimed something, or has ended: else the other may take it all."""
    while not select.select([forked.reader], [], [], 0.005)[0]:
        with run.catalog.read() as connection:
            if connection.alchemy.scalar(text("SELECT count(*) FROM claims")):
                return


@dataclass(frozen=True)
class _Forked:
    """A worker that waits for orders."""

    pid: int
    orders: int  #: the descriptor that takes them
    reader: int  #: the one that its answer comes from

    def begin(self, orders: Handover) -> None:
        """Let it work."""
        os.write(self.orders, handover.encode(orders))

    def answer(self) -> Answer:
        """Wait for its end; return its answer. It is empty if it died, or had no orders."""
        os.close(self.orders)
        with os.fdopen(self.reader, "rb") as stream:
            data = stream.read()
        os.waitpid(self.pid, 0)
        return msgspec.json.decode(data, type=Answer) if data else Answer()


def _fork(others: Sequence[_Forked], watched: Watched, on_step: Any) -> _Forked:
    """Start a worker."""
    (ordered, orders), (reader, writer) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid:
        os.close(ordered)
        os.close(writer)
        return _Forked(pid, orders, reader)
    gc.disable()  # nothing of the process that it was forked from may be closed here
    gevent.get_hub().destroy(destroy_loop=True)
    for descriptor in (orders, *(other.orders for other in others)):
        os.close(descriptor)  # else nobody would see the end of them
    write = os.write  # it may be watched
    with os.fdopen(ordered, "rb") as stream:
        found = handover.read(stream)
    if found is None:
        os._exit(0)
    watched.on_step = on_step
    try:
        ended = child.work(found, Relay(lambda line: None), lambda cancel: None, inline, lanes=1)
        answer = Answer(ended)
        if on_step is not ignored:
            answer = Answer(ended, on_step.reached, on_step.at)
    except BaseException:  # noqa: BLE001
        answer = Answer(error=traceback.format_exc())
    watched.on_step = ignored
    write(writer, msgspec.json.encode(answer))
    os._exit(0)
