"""The order of the stages of a sync. No other module decides it.

The sequence runs in two ways. Inline, each stage is a function call. In a Prefect flow, the flow
passes a `Call` that wraps each stage in a task. Both ways keep the same history, through `perform`.

This process does what concerns the mirror as a whole. Workers take batches of projects through the
stages; an `Executor` (`pypimirror.pipeline.executors`) provides them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pypimirror.catalog.claims import number_free
from pypimirror.catalog.queries import projects
from pypimirror.catalog.queries.work import claims
from pypimirror.domain.model import Problem, Stage
from pypimirror.pipeline import checking, gate, history
from pypimirror.pipeline.asked import eviction, leaving
from pypimirror.pipeline.closure import needs
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.discover import changes
from pypimirror.pipeline.executors.inline import inline
from pypimirror.pipeline.executors.loop import Call, Executor, WorkOff
from pypimirror.pipeline.publish import finishing
from pypimirror.pipeline.run import Run
from pypimirror.system.workers import Cancelled


def work_of(stage: Stage) -> Callable[[Run, Batch], None]:
    """Return the function that runs a stage for the projects of a batch, without a record."""
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


def _import_stages() -> None:
    """Import the stages while the first answer of an upstream is on its way."""
    for stage in Stage:
        work_of(stage)


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
            work_of(stage)(run, batch)
        elif stage is Stage.DISCOVER and batch.number:
            from pypimirror.pipeline.closure import rounds  # few configurations ask for it

            rounds.close(run)
        elif stage is Stage.DISCOVER:
            needs.forget(run)
            changes.look_for_changes(eviction.evict(run))
        else:
            finishing.finish(run)
            checking.check(run)
    return tally.failure(stage, whole=whole)


def sync(run: Run, call: Call = perform, executor: Executor = inline) -> None:
    """Take every project that has work to do through the four stages."""
    run.lanes.meanwhile = _import_stages
    call(run, Stage.DISCOVER, Batch(0))
    _take_through(run, call, tuple(Stage), executor)


def discover_all(run: Run, call: Call = perform, executor: Executor = inline) -> Run:
    """Read all pages that must be read, also those of needed projects; fetch no file.

    Return a run that knows the needed projects.
    """
    stages = (Stage.DISCOVER,)
    with executor(call) as work_off:
        number = work_off(run, stages, 1, False) if _number_left(run) else 0
        run, _ = _follow(run, call, stages, number, work_off)
    with run.catalog.write() as connection:  # the other stages have work for the same projects
        claims.reopen_all(connection)
    return run


def repair(run: Run, call: Call = perform, executor: Executor = inline) -> None:
    """Take open work through the stages, but do not look for changes upstream."""
    _take_through(run, call, (Stage.DOWNLOAD, Stage.VERIFY, Stage.PUBLISH), executor)


def _take_through(run: Run, call: Call, stages: Sequence[Stage], executor: Executor) -> None:
    """Take all batches through `stages`, then run the last stage for the whole mirror."""
    left = _number_left(run)
    run.reporter.expect(left)
    # A Prefect task costs as much as a stage of a small batch, so a flow run has no small ones.
    small_ends = call is perform
    with executor(call) as work_off:
        number = 0
        if left:
            number = _beside_requests(run, stages, 1, small_ends, work_off)
        run.ledger.idle = not number
        if Stage.DISCOVER in stages:
            run, number = _follow(run, call, stages, number, work_off)
    run.storage.refresh()
    call(run, Stage.PUBLISH, Batch(number + 1))


def _beside_requests(
    run: Run, stages: Sequence[Stage], number: int, small_ends: bool, work_off: WorkOff
) -> int:
    """Work off all that is free, while requests go on. Return the last batch's number."""
    with gate.open_to_requests(run):
        number = work_off(run, stages, number, small_ends)
        if run.config.on_demand.projects and leaving.settle(run):
            number = work_off(run, stages, number + 1, small_ends)
    # Projects that requests had claimed meanwhile may still have work.
    if run.config.on_demand.projects and number_free(run.catalog, 1, run.names):
        number = work_off(run, stages, number + 1, small_ends)
    return number


def _number_left(run: Run) -> int:
    with run.catalog.read() as connection:
        return projects.number_left(connection, run.names)


def _follow(
    run: Run, call: Call, stages: Sequence[Stage], number: int, work_off: WorkOff
) -> tuple[Run, int]:
    """Mirror the needed projects. Return a run that knows them, and the last batch's number.

    The closure has read the pages of the projects that it marks. Workers may claim these projects
    again though they had them before.
    """
    stages = [stage for stage in stages if stage is not Stage.DISCOVER]
    while needs.is_due(run):
        number += 1
        call(run, Stage.DISCOVER, Batch(number))
        run = needs.with_needs(run)
        if not run.ledger.marked:
            break
        run.ledger.idle = False
        if stages:
            run.reporter.expect(len(run.ledger.marked))
            number = _beside_requests(run, stages, number + 1, False, work_off)
    return run, number
