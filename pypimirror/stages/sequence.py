"""The sequence of the stages: the one place that says what a sync does, in which order.

It runs two ways. Inline, `inline` calls a stage as a function; in a Prefect flow, the flow hands
in a `Call` that wraps each stage in a task. Both keep the same history, through `perform`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pypimirror.catalog import projects, runs
from pypimirror.model import Stage
from pypimirror.stages import discover, download, publish, verify
from pypimirror.stages.run import Run

#: Projects in a batch: enough to keep all connections busy and a flush cheap for each file, few
#: enough that a killed run loses little and that staging stays small.
BATCH_SIZE = 500


@dataclass(frozen=True)
class Batch:
    """Projects that go through the stages together; without any, the mirror as a whole."""

    number: int
    projects: tuple[int, ...] = ()  #: ids


#: Does one stage for one batch.
Call = Callable[[Run, Stage, Batch], None]

_WORK = {
    Stage.DISCOVER: discover.discover,
    Stage.DOWNLOAD: download.download,
    Stage.VERIFY: verify.verify,
    Stage.PUBLISH: publish.publish,
}


def perform(run: Run, stage: Stage, batch: Batch) -> None:
    """Do one stage for one batch and record it."""
    before = Counter(run.counts)
    run.stage = stage
    with run.catalog.write() as connection:
        record = runs.start_stage(connection, run.id, stage, batch.number)
    state = runs.FAILED
    try:
        if batch.projects:
            _WORK[stage](run, batch.projects)
        elif stage is Stage.DISCOVER:
            discover.look_for_changes(run)
        else:
            publish.finish(run)
        state = runs.COMPLETED
    finally:
        with run.catalog.write() as connection:
            runs.end_stage(connection, record, state, run.counts - before)


def sync(run: Run, call: Call = perform) -> None:
    """Take every project that has something left to do through the four stages."""
    call(run, Stage.DISCOVER, Batch(0))
    number = 0
    for number, ids in enumerate(batches(run), start=1):
        for stage in Stage:
            call(run, stage, Batch(number, ids))
    call(run, Stage.PUBLISH, Batch(number + 1))


def batches(run: Run) -> Iterator[tuple[int, ...]]:
    """Yield the ids of the projects that have something left to do, a batch at a time."""
    last = 0
    while True:
        with run.catalog.read() as connection:
            ids = projects.next_batch(connection, last, BATCH_SIZE, run.names)
        if not ids:
            return
        yield tuple(ids)
        last = ids[-1]


def repair(run: Run, call: Call = perform) -> None:
    """Take what is open through the stages, without looking for changes upstream."""
    number = 0
    for number, ids in enumerate(batches(run), start=1):
        for stage in (Stage.DOWNLOAD, Stage.VERIFY, Stage.PUBLISH):
            call(run, stage, Batch(number, ids))
    call(run, Stage.PUBLISH, Batch(number + 1))
