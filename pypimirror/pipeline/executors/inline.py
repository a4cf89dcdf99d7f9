"""The executor that needs nothing else: the process of the run is its only worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from pypimirror.catalog.states import INLINE
from pypimirror.domain.model import Stage
from pypimirror.pipeline.executors.loop import Call, Loop, WorkOff, at_work
from pypimirror.pipeline.run import Run


@contextmanager
def inline(call: Call, step: int = 1) -> Iterator[WorkOff]:
    """Work in this process. The worker is recorded when there is work for it.

    Its batches are numbered in steps of `step`, which leaves numbers to other workers.
    """
    with ExitStack() as stack:
        worker: Loop | None = None

        def work_off(run: Run, stages: Sequence[Stage], number: int, small_ends: bool) -> int:
            nonlocal worker
            if worker is None:
                worker = stack.enter_context(at_work(run, INLINE, "1"))
            return worker.work_off(run, call, stages, number, small_ends, step)

        yield work_off
        # If the claims were lost after the last batch, the run was cancelled, and must say why.
        if worker is not None and worker.worker.lost is not None:
            raise worker.worker.lost
