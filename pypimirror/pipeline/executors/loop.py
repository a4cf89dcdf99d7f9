"""The loop of every worker: claim a batch, take it through the stages, release it, until none is
left.

Executors differ in where workers run, and in nothing else. A worker works on several batches at the
same time, each in its own lane. While one batch is verified and published, the files of another are
fetched. So a large file at the end of a batch leaves no connection idle.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from contextvars import copy_context

from msgspec import Struct
from msgspec.structs import replace

from pypimirror.catalog import claims
from pypimirror.catalog.queries.history import batches
from pypimirror.config.settings import Config
from pypimirror.domain.model import Stage
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.run import Run
from pypimirror.storage.workspace import Workspace
from pypimirror.system import interrupts

#: Projects in a batch. That is enough to keep all connections busy and to share the cost of a flush
#: between many files. It is few enough that a killed run loses little and staging stays small.
BATCH_SIZE = 100

#: Projects in a batch near the end of a run. With smaller batches, all lanes end at about the same
#: time. Otherwise the last batch is verified and published while nothing is fetched.
SMALLEST_BATCH = 20

#: Most batches that a worker works on at the same time.
LANES = 6

#: Connections for which another lane is worthwhile; see `lanes_for`.
_FOR_A_LANE = 4

#: Most projects that are counted to choose the sizes of batches. They are counted again when this
#: worker has claimed one of so many shares of them, because others claim as well.
_COUNTED, _SHARE = 10_000, 8

#: Runs one stage for one batch. The return value is ignored.
Call = Callable[[Run, Stage, Batch], object]

#: Takes all projects with work through some stages, and returns when no worker works any more. Its
#: arguments are the run, the stages, the number of the first batch, and whether the first and the
#: last batches are small. It returns the number of the last batch.
WorkOff = Callable[[Run, Sequence[Stage], int, bool], int]

#: Provides the workers of a run. They may start with the first work, and end with the context.
Executor = Callable[[Call], AbstractContextManager[WorkOff]]


def lanes_for(config: Config) -> int:
    """Return how many batches at once keep this worker's connections busy.

    With few connections, few batches are enough: one is proven and published while others are
    fetched. With more batches, a worker would claim projects that another worker could do sooner.
    """
    connections = config.processes * config.download.connections
    return min(LANES, 2 + connections // _FOR_A_LANE)


def size_of_batch(number: int, left: int, smallest: int, at_once: int = LANES) -> int:
    """Return the number of projects in batch `number`, if at least `left` projects are left.

    `at_once` is the number of batches that are worked on at the same time.
    """
    return max(smallest, min(BATCH_SIZE, smallest * number, left // at_once))


class Loop(Struct, frozen=True):
    """The loop of one worker."""

    worker: claims.Worker
    counted: Counter[str]  #: the counts of the run in this process when the worker began
    workspace: Workspace  #: where this worker stages
    lanes: int  #: how many batches it works on at the same time, at most
    workers: int = 1  #: how many such workers this machine has

    def work_off(
        self,
        run: Run,
        call: Call,
        stages: Sequence[Stage],
        number: int,
        small_ends: bool,
        step: int = 1,
    ) -> int:
        """Take batches through `stages` until no project is free. Return the last one's number.

        They are numbered from `number` on, in steps of `step`, so workers of one run have different
        numbers. A worker that continues the numbers of another worker begins after its last number.
        With `small_ends`, the first and the last batches are small. `step` is also the number of
        workers that share the work.
        """
        run = replace(run, workspace=self.workspace)
        if step > 1:
            with run.catalog.read() as connection:
                number = batches.free(connection, run.id, number, step)
        smallest = SMALLEST_BATCH if small_ends else BATCH_SIZE
        found = self._batches(run, number, step, smallest)
        first = list(itertools.islice(found, 2))
        found = itertools.chain(first, found)
        if len(first) > 1:
            run = replace(run, most_at_once=self.lanes * self.workers)
            if self.lanes > 1:
                return self._in_lanes(run, call, stages, found)
        last = number - step
        for batch in found:  # most runs: use no threads, so the order of steps is fixed
            self._lane(run, call, stages, batch)
            last = batch.number
        return last

    def _batches(self, run: Run, number: int, step: int, smallest: int) -> Iterator[Batch]:
        left = until = 0
        for at in itertools.count(1):
            if left <= until:
                left = self.worker.number_free(_COUNTED, run.names)
                until = left - left // _SHARE
            size = size_of_batch(at, left, smallest, self.lanes * step)
            ids = self.worker.claim(size, run.names)
            if not ids:
                return
            left -= len(ids) * step  # the others take as many
            yield Batch(number, ids)
            number += step

    def _lane(self, run: Run, call: Call, stages: Sequence[Stage], batch: Batch) -> None:
        for stage in stages:
            call(run, stage, batch)
        self.worker.release(batch.projects, run.ledger.so_far() - self.counted)
        if Stage.PUBLISH in stages:
            run.reporter.finished(len(batch.projects))

    def _in_lanes(
        self, run: Run, call: Call, stages: Sequence[Stage], found: Iterator[Batch]
    ) -> int:
        """Work on batches in parallel. Return the number of the last one.

        An error in one lane cancels the others.
        """
        number = 0
        with ThreadPoolExecutor(self.lanes, thread_name_prefix="lane") as lanes:
            try:
                busy: set[Future[None]] = set()
                for batch in found:
                    number = batch.number
                    # Each lane gets a copy of the context: Prefect finds the flow run in it.
                    lane = copy_context().run
                    busy.add(lanes.submit(lane, self._lane, run, call, stages, batch))
                    if len(busy) == self.lanes:
                        busy = _wait_for_one(busy)
                while busy:
                    busy = _wait_for_one(busy)
            except BaseException:
                with interrupts.shield():
                    run.cancel()
                    lanes.shutdown()
                raise
        return number


def _wait_for_one(busy: set[Future[None]]) -> set[Future[None]]:
    """Wait until a lane is free and return the busy lanes. Raises the error of a failed lane."""
    done, rest = wait(busy, return_when=FIRST_COMPLETED)
    for future in done:
        future.result()
    return rest


@contextmanager
def at_work(run: Run, executor: str, name: str) -> Iterator[Loop]:
    """Be a worker of a run in this process: once its claims are lost, it changes nothing.

    It stages in a directory of its own. At its end, it leaves the rest of that directory to others.
    """
    with claims.hold(run.catalog, run.id, executor=executor, name=name) as worker:
        worker.on_lost = run.cancel
        before, run.storage.guard = run.storage.guard, run.catalog.guard
        workspace = run.workspace.of_worker(worker.id)
        workspace.create()
        try:
            yield Loop(worker, run.ledger.so_far(), workspace, lanes_for(run.config))
        finally:
            run.storage.guard = before
            workspace.give_back()
        hindrance = run.ledger.unreachable or run.ledger.no_room
        if hindrance is not None:
            worker.fail(hindrance.message)
