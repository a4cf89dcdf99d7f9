"""The order of the stages of a sync. No other module decides it.

The sequence runs in two ways. Inline, each stage is a function call. In a Prefect flow, the flow
passes a `Call` that wraps each stage in a task. Both ways keep the same history, through `perform`.

Several batches are worked on at the same time, each in its own lane. While one batch is verified
and published, the files of another are fetched. So a large file at the end of a batch leaves no
connection idle.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import replace

from pypimirror.catalog.queries import projects
from pypimirror.domain.model import Problem, Stage
from pypimirror.pipeline import checking, history
from pypimirror.pipeline.closure import needs
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.discover import discover
from pypimirror.pipeline.publish import publish
from pypimirror.pipeline.run import Run
from pypimirror.system import interrupts
from pypimirror.system.workers import Cancelled

#: Projects in a batch. That is enough to keep all connections busy and to share the cost of a flush
#: between many files. It is few enough that a killed run loses little and staging stays small.
BATCH_SIZE = 100

#: Projects in a batch near the end of a run. With smaller batches, all lanes end at about the same
#: time. Otherwise the last batch is verified and published while nothing is fetched.
SMALLEST_BATCH = 20

#: Batches that are worked on at the same time.
LANES = 6


#: Runs one stage for one batch. The sequence ignores the return value.
Call = Callable[[Run, Stage, Batch], object]


def _work(stage: Stage) -> Callable[[Run, Batch], None]:
    """Return the function that runs a stage for the projects of a batch."""
    # Import a stage only if there is work for it: most runs find no change.
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
    """Run one stage for one batch and record it. Return the reason if the stage could do nothing.

    The run continues after a failed stage. Raises `Cancelled` if the run is cancelled.
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
        elif stage is Stage.DISCOVER and batch.number:
            from pypimirror.pipeline.closure import rounds  # few configurations ask for it

            rounds.close(run)
        elif stage is Stage.DISCOVER:
            needs.forget(run)
            discover.look_for_changes(run)
        else:
            publish.finish(run)
            checking.check(run)
    return tally.failure(stage, whole=whole)


def sync(run: Run, call: Call = perform) -> None:
    """Take every project that has work to do through the four stages."""
    call(run, Stage.DISCOVER, Batch(0))
    _take_through(run, call, tuple(Stage))


def batches(run: Run, smallest: int = BATCH_SIZE) -> Iterator[tuple[int, ...]]:
    """Yield batches of the ids of projects that have work to do."""
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
    """Return the number of projects in batch `number`, if at least `left` projects are left."""
    return max(smallest, min(BATCH_SIZE, smallest * number, left // LANES))


def discover_all(run: Run, call: Call = perform) -> Run:
    """Read all pages that have to be read, of what is needed as well; fetch nothing.

    Return the run that knows what is needed.
    """
    number = 0
    for number, ids in enumerate(batches(run), start=1):
        call(run, Stage.DISCOVER, Batch(number, ids))
    return _follow(run, call, (Stage.DISCOVER,), number)[0]


def repair(run: Run, call: Call = perform) -> None:
    """Take open work through the stages, but do not look for changes upstream."""
    _take_through(run, call, (Stage.DOWNLOAD, Stage.VERIFY, Stage.PUBLISH))


def _take_through(run: Run, call: Call, stages: Sequence[Stage]) -> None:
    """Take all batches through `stages`, then run the last stage for the whole mirror."""
    with run.catalog.read() as connection:
        run.reporter.expect(projects.number_left(connection, run.names))
    # A Prefect task costs as much as a stage of a small batch, so a flow run uses larger batches.
    smallest = SMALLEST_BATCH if call is perform else BATCH_SIZE
    number = _through(run, call, stages, batches(run, smallest), 1)
    run.ledger.idle = not number
    if Stage.DISCOVER in stages:
        run, number = _follow(run, call, stages, number)
    call(run, Stage.PUBLISH, Batch(number + 1))


def _follow(run: Run, call: Call, stages: Sequence[Stage], number: int) -> tuple[Run, int]:
    """Mirror what all of this needs. Return the run that knows it, and the last batch's number.

    The closure has read the pages of the projects that it marks.
    """
    stages = [stage for stage in stages if stage is not Stage.DISCOVER]
    while needs.is_due(run):
        number += 1
        call(run, Stage.DISCOVER, Batch(number))
        run = needs.with_needs(run)
        marked = tuple(run.ledger.marked)
        if not marked:
            break
        run.ledger.idle = False
        run.reporter.expect(len(marked))
        found = (marked[at : at + BATCH_SIZE] for at in range(0, len(marked), BATCH_SIZE))
        number = _through(run, call, stages, found, number + 1)
    return run, number


def _through(
    run: Run, call: Call, stages: Sequence[Stage], found: Iterable[tuple[int, ...]], number: int
) -> int:
    """Take batches of these projects through `stages`, from this number on; return the last one."""
    numbered = (Batch(at, ids) for at, ids in enumerate(found, start=number))
    first = list(itertools.islice(numbered, 2))
    if len(first) > 1:
        run = replace(run, most_at_once=LANES)
        return _in_lanes(run, call, stages, itertools.chain(first, numbered))
    for batch in first:  # most runs: use no threads, so the order of steps is fixed
        _lane(run, call, stages, batch)
    return number - 1 + len(first)


def _lane(run: Run, call: Call, stages: Sequence[Stage], batch: Batch) -> None:
    for stage in stages:
        call(run, stage, batch)
    run.reporter.finished(len(batch.projects))


def _in_lanes(run: Run, call: Call, stages: Sequence[Stage], found: Iterator[Batch]) -> int:
    """Run batches in parallel. Return the number of the last one.

    An error in one lane cancels the others.
    """
    number = 0
    with ThreadPoolExecutor(LANES, thread_name_prefix="lane") as lanes:
        try:
            busy: set[Future[None]] = set()
            for batch in found:
                number = batch.number
                # Each lane gets a copy of the context: Prefect finds the flow run in it.
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
    """Wait until a lane is free and return the busy lanes. Raises the error of a failed lane."""
    done, rest = wait(busy, return_when=FIRST_COMPLETED)
    for future in done:
        future.result()
    return rest
