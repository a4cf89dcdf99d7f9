"""An executor with two workers, in processes that are forked from the one that leads the run.

So nothing is imported again, and hundreds of runs can be killed. Each batch has one project.
"""

from __future__ import annotations

import gc
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import gevent
import msgspec

from pypimirror.catalog.queries import runs
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
    """Return an executor with two workers, of which `fate` watches the first."""
    loop.BATCH_SIZE = loop.SMALLEST_BATCH = 1

    @contextmanager
    def executor(call: Call) -> Iterator[WorkOff]:
        led: list[Run] = []

        def work_off(run: Run, stages: Sequence[Stage], number: int, small_ends: bool) -> int:
            led.append(run)
            orders = [
                handover.of_run(
                    run, run.config, stages, number + n, small_ends=True, place=n, workers=2
                )
                for n in (0, 1)
            ]
            started = [_fork(each, watched, (fate, ignored)[each.slot]) for each in orders]
            answers = [_wait(*each) for each in started]
            fate.reached, fate.at = answers[0].steps, answers[0].at
            staging.collect_dead(run.catalog, run.workspace)
            for answer in answers:
                assert not answer.error, answer.error
                _learn(run, answer.ended)
            with run.catalog.read() as connection:
                last = runs.last_batch(connection, run.id)
            with at_work(run, INLINE, "1") as here:
                return replace(here, lanes=1).work_off(run, call, stages, last + 1, small_ends)

        yield work_off
        for run in led[-1:]:
            staging.sweep(run.catalog, run.workspace)

    return executor


def _fork(orders: Handover, watched: Watched, on_step: Any) -> tuple[int, int]:
    """Start a worker; return its process id, and where its answer comes from."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    gc.disable()  # nothing of the process that it was forked from may be closed here
    gevent.get_hub().destroy(destroy_loop=True)
    watched.on_step = on_step
    try:
        ended = child.work(orders, Relay(lambda line: None), lambda cancel: None, inline, lanes=1)
        answer = Answer(ended, getattr(on_step, "reached", 0), getattr(on_step, "at", None))
    except BaseException:  # noqa: BLE001
        answer = Answer(error=traceback.format_exc())
    watched.on_step = ignored
    os.write(writer, msgspec.json.encode(answer))
    os._exit(0)


def _wait(pid: int, reader: int) -> Answer:
    """Return the answer of a worker; an empty one if it died."""
    with os.fdopen(reader, "rb") as stream:
        data = stream.read()
    os.waitpid(pid, 0)
    return msgspec.json.decode(data, type=Answer) if data else Answer()
