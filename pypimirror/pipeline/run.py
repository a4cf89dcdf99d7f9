"""A run as its stages see it: what it knows at its beginning, and the objects that it works with.

A `Run` never changes. What stages learn goes into the catalog or along with their batch
(`context.batch`). Counts and failures go into the ledger (`context.ledger`).
`pypimirror.pipeline.lifecycle` begins and ends a run.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TypedDict, Unpack

from msgspec import Struct, field

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
from pypimirror.verify.protocol import Check, Checked


class StoppedError(PypimirrorError):
    """The run could not work: no upstream answered, the disk is full, or the guard refused."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Run(Struct, frozen=True):
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
    room: Room  #: free space on disk, less what running downloads will take
    names: tuple[ProjectName, ...] | None  #: the projects that the run is limited to
    id: int = 0
    name: str = ""
    command: str = "sync"
    lease: Lease | None = None  #: None in a dry run
    #: What it repeats of an earlier run; None if it is not a retry.
    retry: Retry | None = None
    #: Whether files may be fetched; else only bytes that are here are taken over.
    fetches: bool = True
    #: Most batches that are worked on at the same time.
    most_at_once: int = 1
    now: float = field(default_factory=clock.now)  #: seconds since the epoch
    began: float = field(default_factory=clock.steady)  #: on a clock that nobody sets
    cache: UpstreamCache = field(default_factory=UpstreamCache)
    #: Set when no new work may begin.
    cancelled: threading.Event = field(default_factory=threading.Event)
    #: Called when the run is cancelled, in any thread or signal handler.
    on_cancel: list[Callable[[], None]] = field(default_factory=list)

    @property
    def due_at(self) -> float | None:
        """Time until which files must be due to be tried; None if no file has to wait."""
        waits = self.names is None and self.retry is None and self.fetches
        return self.now if waits else None

    def fetch(
        self,
        jobs: Iterable[Job],
        on_progress: Callable[[Job, int], None] = lambda *_: None,
    ) -> Iterator[Result]:
        """Do `jobs` and report their progress. Yield the results as they come.

        `on_progress` gets a job and the bytes that arrived for it since the last call.
        """

        reported: Counter[int] = Counter()  # bytes, by job

        def progress(job: Job, size: int) -> None:
            stage = Stage.DOWNLOAD if isinstance(job, FetchFile) else Stage.DISCOVER
            self.reporter.advance(stage, size=size)
            reported[job.id] += size
            on_progress(job, size)

        for result in self.pools.fetcher.run(jobs, on_progress=progress):
            if isinstance(result, FileResult):
                unreported = result.transferred - reported.pop(result.id, 0)
                self.reporter.advance(Stage.DOWNLOAD, size=max(0, unreported))
            yield result

    def hashed(self, jobs: Iterable[Check]) -> Iterator[Checked]:
        """Hash files that the storage holds; see `stored_files.hashed`."""
        from pypimirror.pipeline.context import stored_files

        return stored_files.hashed(self.storage, self.pools.reader, jobs, self.cancelled)

    def examined(self, jobs: Iterable[tuple[Check, str | None]]) -> Iterator[Checked]:
        """Do jobs that need files on disk; see `stored_files.examined`."""
        from pypimirror.pipeline.context import stored_files

        return stored_files.examined(self.storage, self.pools.checker, jobs)

    def cancel(self) -> None:
        """Cancel all work in progress, in any thread: it ends with `Cancelled`."""
        self.cancelled.set()
        self.catalog.give_up()
        self.pools.cancel()
        for call in list(self.on_cancel):
            call()


class FurtherFields(TypedDict, total=False):
    """The fields of a `Run` that its maker may set; without them, the defaults of `Run` apply."""

    id: int
    name: str
    command: str
    lease: Lease | None
    retry: Retry | None
    now: float


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
    **fields: Unpack[FurtherFields],
) -> Run:
    """Return a run with its own pools. The caller must close them."""
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
        make_pools(config, reporter, lanes.waiting),
        lanes,
        Room(workspace.directory, int(config.mirror.reserve)),
        names,
        **fields,
    )
