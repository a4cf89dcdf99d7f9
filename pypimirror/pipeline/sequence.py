"""The sequence of the stages: the one place that says what a sync does, in which order.

It runs two ways. Inline, a stage is called as a function; in a Prefect flow, the flow hands in a
`Call` that wraps each stage in a task. Both keep the same history, through `perform`.

Where there are several batches, a few of them are under way at once, each in a lane of its own:
while one is verified and published, another's files are fetched, and a large file at the end of
a batch leaves no connection idle.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import replace

from pypimirror.catalog.queries import projects
from pypimirror.domain.model import Problem, Stage
from pypimirror.pipeline import history
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.discover import discover
from pypimirror.pipeline.publish import publish
from pypimirror.pipeline.run import Run
from pypimirror.system import interrupts
from pypimirror.system.workers import Cancelled

#: Projects in a batch: enough to keep all connections busy and a flush cheap for each file, few
#: enough that a killed run loses little and that staging stays small.
BATCH_SIZE = 100

#: Projects in a batch near the end of a run, where smaller ones let all lanes end at one time: the
#: last batch is verified and published while nothing is left to be fetched.
SMALLEST_BATCH = 20

#: Batches that are under way at once.
LANES = 6


#: Does one stage for one batch; what it returns is nothing to the sequence.
Call = Callable[[Run, Stage, Batch], object]


def _work(stage: Stage) -> Callable[[Run, Batch], None]:
    """Return what does a stage for the projects of a batch."""
    # Imported when there is work: most runs find nothing changed.
    match stage:
        case Stage.DISCOVER:
            from pypimirror.pipeline.discover.discover import discover

            return discover
        case Stage.DOWNLOAD:
            from pypimirror.pipeline.download.download import download

            return download
        case Stage.VERIFY:
            from pypimirror.pipeline.verify.verify import verify

            return verify
        case Stage.PUBLISH:
            from pypimirror.pipeline.publish.publish import publish

            return publish


def perform(run: Run, stage: Stage, batch: Batch) -> Problem | None:
    """Do one stage for one batch and record it; return why nothing of it could be done, if so.

    The run goes on all the same. Raises `Cancelled` in a run that is cancelled.
    """
    if run.cancelled.is_set():
        raise Cancelled("cancelled")
    feeds = stage in (Stage.DISCOVER, Stage.DOWNLOAD)
    whole = not batch.projects
    with (
        run.lanes.priority.taken(first=feeds),
        history.stage(run, stage, batch.number, whole=whole) as tally,
    ):
        if batch.projects:
            _work(stage)(run, batch)
        elif stage is Stage.DISCOVER:
            discover.look_for_changes(run)
        else:
            publish.finish(run)
    return tally.failure(stage, whole=whole)


def sync(run: Run, call: Call = perform) -> None:
    """Take every project that has something left to do through the four stages."""
    call(run, Stage.DISCOVER, Batch(0))
    _take_through(run, call, tuple(Stage))


def batches(run: Run, smallest: int = BATCH_SIZE) -> Iterator[tuple[int, ...]]:
    """Yield the ids of the projects that have something left to do, a batch at a time."""
    ahead: list[int] = []
    last = 0
    for number in itertools.count(1):
        if len(ahead) < BATCH_SIZE * LANES:
            with run.catalog.read() as connection:
                found = projects.next_batch(connection, last, projects.CHUNK, run.names)
            ahead += found
            if not ahead:
                return
            last = ahead[-1]
        size = size_of_batch(number, len(ahead), smallest)
        yield tuple(ahead[:size])
        del ahead[:size]


def size_of_batch(number: int, left: int, smallest: int) -> int:
    """Return how many projects a batch has, by its number, of so many that are left, or more."""
    return max(smallest, min(BATCH_SIZE, smallest * number, left // LANES))


def repair(run: Run, call: Call = perform) -> None:
    """Take what is open through the stages, without looking for changes upstream."""
    _take_through(run, call, (Stage.DOWNLOAD, Stage.VERIFY, Stage.PUBLISH))


def _take_through(run: Run, call: Call, stages: Sequence[Stage]) -> None:
    """Take all batches through `stages`, and then the mirror as a whole through the last one."""
    with run.catalog.read() as connection:
        run.reporter.expect(projects.number_left(connection, run.names))
    # What is wrapped around a stage in a flow run costs as much as the stage of a small batch.
    smallest = SMALLEST_BATCH if call is perform else BATCH_SIZE
    found = (Batch(number, ids) for number, ids in enumerate(batches(run, smallest), start=1))
    first = list(itertools.islice(found, 2))
    run.ledger.idle = not first
    if len(first) > 1:
        run = replace(run, most_at_once=LANES)
    if len(first) < 2:  # most runs: no threads, and the order of all steps is certain
        for batch in first:
            _lane(run, call, stages, batch)
        last = len(first)
    else:
        last = _in_lanes(run, call, stages, itertools.chain(first, found))
    call(run, Stage.PUBLISH, Batch(last + 1))


def _lane(run: Run, call: Call, stages: Sequence[Stage], batch: Batch) -> None:
    for stage in stages:
        call(run, stage, batch)
    run.reporter.finished(len(batch.projects))


def _in_lanes(run: Run, call: Call, stages: Sequence[Stage], found: Iterator[Batch]) -> int:
    """Do batches side by side; return the number of the last. One that fails ends the others."""
    number = 0
    with ThreadPoolExecutor(LANES, thread_name_prefix="lane") as lanes:
        try:
            busy: set[Future[None]] = set()
            for batch in found:
                number = batch.number
                # A copy of the context for each: a flow run is known by it.
                busy.add(lanes.submit(copy_context().run, _lane, run, call, stages, batch))
                if len(busy) == LANES:
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
    """Wait until a lane is free; return those that are not. Raises what a lane has raised."""
    done, rest = wait(busy, return_when=FIRST_COMPLETED)
    for future in done:
        future.result()
    return rest
