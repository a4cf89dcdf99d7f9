"""What a run leaves in the history: the record of each of its stages, and how long runs are kept.

The record of the run itself is opened and closed in `stages.record`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pypimirror.catalog import runs
from pypimirror.model import Stage
from pypimirror.workers import Cancelled

if TYPE_CHECKING:
    from pypimirror.stages.run import Run

#: Old runs, and rows of theirs, that go at the end of one run at most; the rest goes with the next.
_RUNS, _ROWS = 50, 200_000
#: Rows that go in one transaction.
_CHUNK = 10_000


@contextmanager
def stage(run: Run, stage: Stage, batch: int) -> Iterator[None]:
    """Record a stage of a batch, with what is counted meanwhile and how it ended."""
    record = run.catalog.apply(
        lambda connection: runs.start_stage(connection, run.id, stage, batch)
    )
    state = runs.CANCELLED  # unless it is something else that ends the stage
    with run.counting() as counts:
        try:
            yield
            state = runs.COMPLETED
        except Cancelled:
            raise
        except Exception:
            state, run.stage = runs.FAILED, stage
            raise
        except BaseException:  # a signal: nothing is to wait for what is under way
            run.cancel()
            raise
        finally:
            run.catalog.apply(lambda connection: runs.end_stage(connection, record, state, counts))


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
