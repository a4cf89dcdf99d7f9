"""The executor whose workers are flow runs: it starts the shards of a run, and waits for the work.

A shard is a flow run of the deployment `sync/shard` (`flows.shard`), on any machine that has a
Prefect worker for the work pool. Shards take batches from the catalog until none is left, so the
catalog knows what they do, and Prefect is only asked whether they can still begin. The rules:

* The work is done when no project is left. Nobody waits for a shard that hangs: its claims expire,
  and others take them.
* If no shard works although projects are left, this process works itself: after `PATIENCE`, or at
  once if no shard can begin any more. Shards that begin later join in.
* Prefect retries a shard that fails. What the shard has done stays, and the others go on.
* At the end, shards that have not begun, or that hang, are cancelled. If this run is cancelled or
  fails, all shards are. Prefect cancels them too, but only half a minute later.
* If Prefect cannot be asked, that is a warning, and never a failure of the run.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Cancelling, Crashed

from pypimirror.catalog import holder, states
from pypimirror.catalog.engines import errors
from pypimirror.catalog.queries.history import batches
from pypimirror.catalog.queries.work import claims, workers
from pypimirror.catalog.records import WorkerRecord
from pypimirror.domain.addresses import redacted
from pypimirror.domain.model import Stage
from pypimirror.domain.sizes import number_of
from pypimirror.pipeline.executors import joining
from pypimirror.pipeline.executors.inline import inline
from pypimirror.pipeline.executors.loop import BATCH_SIZE, Call, Executor, WorkOff
from pypimirror.pipeline.run import Run
from pypimirror.system import clock, interrupts
from pypimirror.system.workers import Cancelled

#: The deployment of shards in `prefect.yaml`.
DEPLOYMENT = "sync/shard"

#: Seconds without any working shard after which this process works itself. A Prefect worker looks
#: for flow runs every 10 to 15 seconds, and the process of a flow run takes up to 15 to begin.
#: A retry comes sooner.
PATIENCE = 60.0

#: Seconds between two checks of the shards.
EVERY = 2.0

#: Seconds between two lines of the log about their progress.
_LINE = 30.0

#: Seconds that working shards have at the end to notice that no work is left.
_GRACE = 20.0

#: Errors of a server that does not answer, or refuses.
_ERRORS = (httpx.HTTPError, PrefectException, RuntimeError, OSError)


def executor(config: str) -> Executor:
    """Return the executor of a sync in the flow run of this context.

    `config` is the configuration file for shards, as the parameter of the flow `shard`. A run with
    little to do has no shards: then this process does all the work.
    """

    @contextmanager
    def provide(call: Call) -> Iterator[WorkOff]:
        numbers = itertools.count(1)
        with inline(call) as work_here:

            def work_off(run: Run, stages: Sequence[Stage], number: int, small_ends: bool) -> int:
                wanted = number_of_shards(run, stages)
                if not wanted:
                    return work_here(run, stages, number, small_ends)
                mine = list(itertools.islice(numbers, wanted))
                return _work_off(run, call, config, mine, number)

            yield work_off

    return provide


def number_of_shards(run: Run, stages: Sequence[Stage]) -> int:
    """Return how many shards are worthwhile: at most one for each batch.

    0 if the run repeats single files or projects, or has only one batch.
    """
    is_whole = run.names is None and (run.retry is None or not run.retry.only)
    most = run.config.workers.shards
    if not most or not is_whole or tuple(stages) != tuple(Stage):
        return 0
    if run.config.publish.changes is not None:
        run.reporter.note("warning", "no shards: publish.changes lists only what one machine does")
        return 0
    with run.catalog.read() as connection:
        free = claims.number_free(connection, 0, most * BATCH_SIZE, None)
    return math.ceil(free / BATCH_SIZE) if free > BATCH_SIZE else 0


def _work_off(run: Run, call: Call, config: str, numbers: Sequence[int], first: int) -> int:
    """Let shards with these numbers do all work. Return the number of the last batch."""
    step = len(numbers) + 1  # this process may have batches, too

    def do_rest() -> None:
        with inline(call, step) as work_here:
            work_here(run, tuple(Stage), first, True)

    parameters = {"config": config, "run": run.name, "step": step, "agreed": joining.told(run)}
    with _started(run, numbers, parameters, first) as shards:
        _wait(shards, do_rest)
        shards.let_end()
        rows = shards.rows()
        if found := trouble(shards.flow_runs, rows, shards.states()):
            run.reporter.note("warning", found)
        run.ledger.remark = "; ".join(filter(None, [*shards.faults, found]))
    run.ledger.learn_from_catalog(rows)
    with run.catalog.read() as connection:
        return batches.last(connection, run.id)


def _wait(shards: Shards, do_rest: Callable[[], None]) -> None:
    """Show the progress of shards until no project is left."""
    run = shards.run
    progress = ShardProgress(run)
    alone_since = clock.steady()
    while shards.is_work_left():
        rows = shards.rows()
        progress.show(rows)
        if shards.is_any_working(rows):
            alone_since = clock.steady()
        elif clock.steady() - alone_since >= PATIENCE or not shards.may_begin():
            hint = "" if rows else ". Does a Prefect worker serve the work pool of the shards?"
            why = _alone(shards, rows)
            run.reporter.note("warning", f"{why}: this run does the work itself{hint}")
            do_rest()
            alone_since = clock.steady()  # other workers have claimed all projects that are left
        if run.cancelled.wait(EVERY):
            raise Cancelled("cancelled")
    progress.show(shards.rows())


def _alone(shards: Shards, rows: Sequence[WorkerRecord]) -> str:
    """Say why no shard works."""
    if not shards.flow_runs:
        return "there are no shards"
    if not rows:
        return f"none of {len(shards.flow_runs)} shards has begun"
    return f"of {len(shards.flow_runs)} shards, none works any more"


def trouble(
    numbers: Collection[int], rows: Sequence[WorkerRecord], known: Mapping[int, State[Any]]
) -> str:
    """Say how many shards did not end well, with the first cause of each kind; "" if none.

    `known` are the states of their flow runs. For a shard that was retried, the last row counts.
    """
    last = {row.name: row for row in rows}
    found: dict[str, list[str]] = {}
    for number in numbers:
        row, state = last.get(str(number)), known.get(number)
        if row is not None and row.state != states.COMPLETED:
            found.setdefault(_ENDS[row.state], []).append(row.message or "")
        elif row is None and state is not None and (state.is_failed() or state.is_crashed()):
            found.setdefault(_ENDS[states.FAILED], []).append(state.message or "")
        elif row is None:
            found.setdefault("not begun", []).append("")
    if not found:
        return ""
    parts = [
        f"{len(messages)} {end}" + (f" ({messages[0]})" if messages[0] else "")
        for end, messages in found.items()
    ]
    return f"of {len(numbers)} shards, {', '.join(parts)}; all their work was done"


#: Words for the end of a shard, by the state of its worker.
_ENDS = {
    states.WORKING: "still at work",
    states.FAILED: "failed",
    states.CANCELLED: "cancelled",
    states.LOST: "lost",
}


@dataclass
class ShardProgress:
    """Shows what the shards of a run have done so far."""

    run: Run
    _projects: int = 0
    _seen: dict[int, str] = field(default_factory=dict)  #: state by id of the row
    _told_at: float = field(default_factory=clock.steady)

    def show(self, rows: Sequence[WorkerRecord]) -> None:
        """Show the difference to the last time: a line for a shard that begins or ends."""
        projects = sum(row.projects for row in rows)
        self.run.reporter.finished(projects - self._projects)
        self._projects = projects
        is_time = clock.steady() - self._told_at >= _LINE
        for row in rows:
            if row.state != self._seen.get(row.id) or (is_time and row.state == states.WORKING):
                self.run.reporter.note("info", _line(row))
            self._seen[row.id] = row.state
        if is_time:
            self._told_at = clock.steady()


def _line(row: WorkerRecord) -> str:
    line = f"shard {row.name} on {row.host}: {row.state}"
    if row.batches:
        batches = "1 batch" if row.batches == 1 else f"{row.batches:,} batches"
        line += f", {batches}, {number_of(row.projects, 'project')}"
    return f"{line}: {row.message}" if row.message else line


@contextmanager
def _started(
    run: Run, numbers: Sequence[int], parameters: Mapping[str, Any], first: int
) -> Iterator[Shards]:
    """Start shards. At the end, no flow run of them is left that could still begin or work."""
    shards = Shards(run)
    try:
        shards.start(numbers, parameters, first)
        yield shards
    finally:
        with interrupts.shield():
            shards.cancel()


@dataclass(frozen=True)
class Shards:
    """The shards of a run."""

    run: Run
    flow_runs: dict[int, UUID] = field(default_factory=dict)  #: by the number of the shard
    faults: list[str] = field(default_factory=list)  #: why some could not be started

    def start(self, numbers: Sequence[int], parameters: Mapping[str, Any], first: int) -> None:
        """Ask Prefect for flow runs. If it refuses, there are fewer of them, or none."""
        name = self.run.name
        try:
            for at, number in enumerate(numbers, start=1):
                found = run_deployment(
                    DEPLOYMENT,
                    parameters={**parameters, "number": number, "batch": first + at},
                    timeout=0,
                    flow_run_name=f"{self.run.command}-{name}-shard-{number}",
                    idempotency_key=f"{name}-{number}",
                    tags=[f"mirror:{self.run.config.directory}"],
                )
                self.flow_runs[number] = cast(FlowRun, found).id
        except ObjectNotFound:
            self._warn(f"there is no deployment {DEPLOYMENT}: 'pypimirror deploy' makes it")
        except _ERRORS as error:
            self._warn(redacted(f"Prefect cannot start shards: {error}"))
        else:
            self.run.reporter.announce(
                f"Started {len(numbers)} shards. If none begins within {PATIENCE:.0f} s, this run "
                "does the work itself"
            )

    def _warn(self, message: str) -> None:
        self.faults.append(message)
        self.run.reporter.note("warning", message)

    def is_work_left(self) -> bool:
        """Whether a project is left that nobody has taken through the stages in this run."""
        with self.run.catalog.read() as connection:
            return claims.is_any_left(connection)

    def rows(self) -> list[WorkerRecord]:
        """Return their rows in the catalog. A shard that was retried has several rows."""
        with self.run.catalog.read() as connection:
            found = workers.of_run(connection, self.run.id)
        mine = set(map(str, self.flow_runs))
        return [row for row in found if row.executor == states.SHARD and row.name in mine]

    def is_any_working(self, rows: Sequence[WorkerRecord]) -> bool:
        """Whether one of these shards has not ended, and its claims hold."""
        here, mine = holder.this_machine(), {row.id for row in rows}
        with self.run.catalog.read() as connection:
            found = workers.others(connection, self.run.id, 0)
        return any(each.id in mine and not each.is_gone(here) for each in found)

    def states(self) -> dict[int, State[Any]]:
        """Return the states of their flow runs; none if Prefect does not answer."""
        if not self.flow_runs:
            return {}
        which = FlowRunFilter(id=FlowRunFilterId(any_=list(self.flow_runs.values())))
        once = temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 1})  # the next look comes soon
        with suppress(*_ERRORS), once, get_client(sync_client=True) as client:
            found = {each.id: each.state for each in client.read_flow_runs(flow_run_filter=which)}
            by_number = ((n, found.get(flow_run)) for n, flow_run in self.flow_runs.items())
            return {number: state for number, state in by_number if state is not None}
        return {}

    def may_begin(self) -> bool:
        """Whether a shard may begin later, or again, as far as Prefect says."""
        known = self.states()
        return any(number not in known or not known[number].is_final() for number in self.flow_runs)

    def let_end(self) -> None:
        """Wait a short time for the shards that have begun: they see that no work is left."""
        until = clock.steady() + _GRACE
        while any(state.is_running() for state in self.states().values()):
            if clock.steady() > until or self.run.cancelled.wait(EVERY / 4):
                return

    def cancel(self) -> None:
        """Cancel the flow runs that have not ended. A lost shard counts as crashed."""
        lost: set[str] = set()
        with suppress(errors.SQLAlchemyError):
            lost |= {row.name for row in self.rows() if row.state == states.LOST}
        for number, state in self.states().items():
            if state.is_final() or state.is_cancelling():
                continue
            wanted: State[Any] = Cancelling(message="The run has ended")
            if state.is_running() and str(number) in lost:
                wanted = Crashed(message="It has lost its claims: others did its work")
            with suppress(*_ERRORS), get_client(sync_client=True) as client:
                client.set_flow_run_state(self.flow_runs[number], wanted, force=wanted.is_crashed())
