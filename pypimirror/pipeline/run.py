"""A run, as its stages see it: what is known when it begins, and what it works with.

Nothing of it changes while the run goes on. What stages learn goes into the catalog, or along
with their batch (`context.batch`); what becomes of the run stands in its ledger
(`context.ledger`). How a run begins and ends is `pypimirror.pipeline.lifecycle`'s.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pypimirror.catalog.database import Catalog
from pypimirror.catalog.lease import Lease
from pypimirror.config.settings import Config
from pypimirror.domain.model import Problem, ProjectName, PypimirrorError, Stage
from pypimirror.download.protocol import FetchFile, FileResult, Job, Result
from pypimirror.pipeline.context import pools as pooling
from pypimirror.pipeline.context.lanes import Lanes
from pypimirror.pipeline.context.ledger import Ledger
from pypimirror.pipeline.context.pools import MakePools, Pools
from pypimirror.pipeline.context.reporter import Reporter
from pypimirror.pipeline.context.retry_plan import Retry
from pypimirror.pipeline.context.upstream_cache import UpstreamCache
from pypimirror.select.selection import Selection
from pypimirror.storage.storage import Storage
from pypimirror.storage.workspace import Workspace
from pypimirror.system import clock
from pypimirror.system.space import Room


class StoppedError(PypimirrorError):
    """The run could not work: nothing answered, the disk is full, the guard stepped in."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


@dataclass(frozen=True)
class Run:
    """One run over one mirror."""

    config: Config
    selection: Selection
    catalog: Catalog
    storage: Storage
    workspace: Workspace
    reporter: Reporter
    ledger: Ledger
    pools: Pools
    lanes: Lanes
    room: Room  #: on disk, and what of it downloads under way will take
    names: tuple[ProjectName, ...] | None  #: the projects that the run is limited to
    id: int = 0
    name: str = ""
    command: str = "sync"
    lease: Lease | None = None  #: None in a rehearsal
    #: What it does again of an earlier run, where that is all that it does.
    retry: Retry | None = None
    #: Whether files may be fetched; else only what is here already is taken over.
    fetches: bool = True
    #: Batches that may be under way at once.
    most_at_once: int = 1
    now: float = field(default_factory=clock.now)  #: seconds since the epoch
    began: float = field(default_factory=clock.steady)  #: on a clock that nobody sets
    cache: UpstreamCache = field(default_factory=UpstreamCache)
    #: Set when nothing new may be begun.
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def due_at(self) -> float | None:
        """When files must be due for this run to try them; None: it makes none of them wait."""
        waits = self.names is None and self.retry is None and self.fetches
        return self.now if waits else None

    def fetch(
        self,
        jobs: Iterable[Job],
        on_progress: Callable[[Job, int], None] = lambda *_: None,
    ) -> Iterator[Result]:
        """Let the fetcher do `jobs`, and report its progress; yield the answers as they come.

        `on_progress` hears of bytes that came in for a job, since the last time.
        """

        told: Counter[int] = Counter()  # bytes, by job

        def progress(job: Job, size: int) -> None:
            stage = Stage.DOWNLOAD if isinstance(job, FetchFile) else Stage.DISCOVER
            self.reporter.advance(stage, size=size)
            told[job.id] += size
            on_progress(job, size)

        for result in self.pools.fetcher.run(jobs, on_progress=progress):
            if isinstance(result, FileResult):
                rest = result.transferred - told.pop(result.id, 0)
                self.reporter.advance(Stage.DOWNLOAD, size=max(0, rest))
            yield result

    def cancel(self) -> None:
        """End what is under way, in any thread, with `Cancelled`."""
        self.cancelled.set()
        self.catalog.give_up()
        self.pools.cancel()


def make(
    config: Config,
    selection: Selection,
    catalog: Catalog,
    storage: Storage,
    workspace: Workspace,
    reporter: Reporter,
    ledger: Ledger,
    names: tuple[ProjectName, ...] | None,
    *,
    make_pools: MakePools = pooling.start,
    **known: Any,
) -> Run:
    """Return a run with pools of its own, which the caller closes; `known` are further fields."""
    lanes = Lanes()
    storage.waiting = lanes.priority.given_up
    return Run(
        config,
        selection,
        catalog,
        storage,
        workspace,
        reporter,
        ledger,
        make_pools(config, reporter, lanes.priority.given_up),
        lanes,
        Room(workspace.directory, int(config.mirror.reserve)),
        names,
        **known,
    )
