"""What a run leaves in the history: the record of each of its stages, and how long runs are kept.

The record of the run itself is opened and closed in `pipeline.record`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pypimirror.catalog.database import Connection
from pypimirror.catalog.queries import deadlines, runs
from pypimirror.domain.model import Stage
from pypimirror.pipeline.context.ledger import Tally
from pypimirror.pipeline.run import Run
from pypimirror.system.workers import Cancelled

#: Old runs, and rows of theirs, that go at the end of one run at most; the rest goes with the next.
_RUNS, _ROWS = 50, 200_000
#: Rows that go in one transaction.
_CHUNK = 10_000
#: The share of runs, or of their time, by which more may be kept while nothing else happens.
_SLACK = 0.02


@contextmanager
def stage(run: Run, stage: Stage, batch: int, *, whole: bool = False) -> Iterator[Tally]:
    """Record a stage of a batch, with what is counted meanwhile and how it ended.

    One of which nothing could be done has failed, though no error ended it; so says the tally that
    is yielded. `whole`: it concerns the mirror as a whole.
    """
    record = run.catalog.apply(
        lambda connection: runs.start_stage(connection, run.id, stage, batch)
    )
    state = runs.CANCELLED  # unless it is something else that ends the stage
    with run.ledger.counting() as tally:
        try:
            yield tally
            state = runs.FAILED if tally.failure(stage, whole=whole) else runs.COMPLETED
        except Cancelled:
            raise
        except Exception:
            state, run.ledger.stage = runs.FAILED, stage
            raise
        except BaseException:  # a signal: nothing is to wait for what is under way
            run.cancel()
            raise
        finally:
            run.catalog.apply(
                lambda connection: runs.end_stage(connection, record, state, tally.counts)
            )


def next_to_forget(run: Run, connection: Connection) -> float | None:
    """Return when a run is next to be forgotten by its age, at the latest; None: never.

    It may be a fiftieth late: runs that find nothing to do are to forget none.
    """
    keep_for = run.config.history.keep_for.total_seconds()
    oldest = deadlines.oldest_run(connection, run.now - keep_for)
    return None if oldest is None else oldest + keep_for * (1 + _SLACK)


def spare(run: Run, connection: Connection) -> int:
    """Return how many more runs there may be before one is to be forgotten; 0 or less: none."""
    keep = run.config.history.keep_runs
    return int(keep * (1 + _SLACK)) - deadlines.count_runs(connection)


def prune(run: Run) -> int:
    """Forget old runs as `[history]` says, so many of them at once; return how many.

    The last run is kept, and of each command the last that completed.
    """
    limits = run.config.history
    before = run.now - limits.keep_for.total_seconds()
    with run.catalog.read() as connection:
        old = runs.outlived(connection, limits.keep_runs, before, _RUNS)
    left = _ROWS
    for forgotten, run_id in enumerate(old):
        gone = _CHUNK
        while gone == _CHUNK:
            if left <= 0:
                return forgotten
            with run.catalog.write() as connection:
                gone = runs.forget_some(connection, run_id, _CHUNK)
            left -= gone
    return len(old)
