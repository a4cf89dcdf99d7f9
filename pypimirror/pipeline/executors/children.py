"""The executor of most commands: children if there is much to do, else only this process.

`executors.team` starts and watches the children. This module only decides, because most runs have
little to do and must be fast. The limits are measured (`docs/decisions/0078-children.md`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pypimirror.catalog import claims
from pypimirror.config.settings import available_cores
from pypimirror.domain.model import Stage
from pypimirror.pipeline.download import staging
from pypimirror.pipeline.executors.inline import inline
from pypimirror.pipeline.executors.loop import Call, WorkOff
from pypimirror.pipeline.run import Run

#: Children are worthwhile from this number of projects on. A child takes half a second to start.
ENOUGH = 1_000

#: Children are worthwhile from this number of cores on. A process that downloads keeps two busy.
CORES, CORES_WITHOUT_DOWNLOADS = 3, 2


@contextmanager
def children(call: Call) -> Iterator[WorkOff]:
    """Work in children if that is faster. This process does the rest.

    Children run the stages themselves. `call` runs those of this process.
    """
    left_by_dead: Run | None = None
    with inline(call) as work_off_here:

        def work_off(run: Run, stages: Sequence[Stage], number: int, small_ends: bool) -> int:
            nonlocal left_by_dead
            if not _is_worthwhile(run):
                return work_off_here(run, stages, number, small_ends)
            from pypimirror.pipeline.executors import team

            last, is_done = team.work(run, available_cores(), stages, number, small_ends)
            if is_done:
                return last
            left_by_dead = run
            return work_off_here(run, stages, last + 1, small_ends)

        yield work_off
    if left_by_dead is not None:
        staging.sweep(left_by_dead.catalog, left_by_dead.workspace)


def _is_worthwhile(run: Run) -> bool:
    enough_cores = CORES if run.fetches else CORES_WITHOUT_DOWNLOADS
    return (
        available_cores() >= enough_cores
        and claims.number_free(run.catalog, ENOUGH, run.names) >= ENOUGH
    )
