"""The history of runs: the record of each stage, the row of the day, and the removal of old runs.

`pipeline.lifecycle` opens and closes the record of the run itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from pypimirror.catalog import damage
from pypimirror.catalog.database import Connection
from pypimirror.catalog.queries import days, runs, statistics
from pypimirror.catalog.queries.history import batches, pruning
from pypimirror.domain.model import Problem, Stage
from pypimirror.pipeline.context.ledger import Tally
from pypimirror.pipeline.run import Run
from pypimirror.system import clock, space
from pypimirror.system.workers import Cancelled

#: Most old runs, and most of their rows, that one run deletes. The next run deletes more.
_RUNS, _ROWS = 50, 200_000
#: Most rows that are deleted in one transaction.
_CHUNK = 10_000


@contextmanager
def stage(run: Run, stage: Stage, batch: int, *, whole: bool = False) -> Iterator[Tally]:
    """Record a stage of a batch: its counts, and how it ended.

    A stage has failed also if it could do nothing, without an error; the yielded tally says so.
    `whole` means that the stage works on the mirror as a whole.
    """
    record = run.catalog.apply(lambda connection: batches.start(connection, run.id, stage, batch))
    state = runs.CANCELLED  # unless the stage ends in another way
    with run.ledger.counting() as tally:
        try:
            yield tally
            state = runs.FAILED if tally.failure(stage, whole=whole) else runs.COMPLETED
        except Cancelled:
            raise
        except Exception:
            state, run.ledger.stage = runs.FAILED, stage
            raise
        except BaseException:  # a signal: do not wait for work in progress
            run.cancel()
            raise
        finally:
            run.catalog.apply(
                lambda connection: batches.end(connection, record, state, tally.counts)
            )


def note_day(
    run: Run, connection: Connection, age: float | None, failed: Iterable[Problem]
) -> None:
    """Add this run, whose record was closed, to the present day.

    `age` is in seconds: how old the last complete sync was. None: there was none.
    """
    free = None
    if run.config.bucket is None:
        with suppress(OSError):
            free = space.free(run.workspace.directory)
    reasons = Counter(problem.reason.value for problem in failed)
    with damage.reported(run.catalog.shown, run.catalog.read):
        days.note(connection, days.Ending(free, age, reasons))


def age(connection: Connection) -> float | None:
    """Return the seconds since the last complete sync began; None if that is unknown."""
    last = statistics.last_complete_sync(connection)
    now = clock.now()
    return now - last.started_at if last and clock.is_past(last.started_at, now) else None


def prune(run: Run) -> int:
    """Delete old runs according to `[history]`, up to a limit. Return the number of deleted runs.

    The last run is always kept, and so is the last completed run of each command.
    """
    limits = run.config.history
    before = run.now - limits.keep_for.total_seconds()
    with run.catalog.read() as connection:
        old = pruning.outlived(connection, limits.keep_runs, before, _RUNS)
    rows_left = _ROWS
    for forgotten, run_id in enumerate(old):
        deleted = _CHUNK
        while deleted == _CHUNK:
            if rows_left <= 0:
                return forgotten
            with run.catalog.write() as connection:
                deleted = pruning.forget_some(connection, run_id, _CHUNK)
            rows_left -= deleted
    return len(old)
