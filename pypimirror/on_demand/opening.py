"""Open everything that a fetcher needs: catalog, storage, store, pools; and become a worker.

A fetcher holds neither lock nor lease. Only if the mirror is new, or of an older version, it takes
both for a moment, like a sync.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial

from msgspec.structs import replace

from pypimirror.catalog import damage, holder
from pypimirror.catalog.claims import Worker
from pypimirror.catalog.database import (
    Catalog,
    CatalogError,
    Connection,
    is_absent,
    sqlite_file,
)
from pypimirror.catalog.marks import GENERATION
from pypimirror.catalog.queries import marks
from pypimirror.catalog.queries.work import requests
from pypimirror.catalog.states import REQUEST
from pypimirror.config.settings import Config
from pypimirror.domain.errors import LockedError
from pypimirror.on_demand.keeping.source import StoreFetcher, StoreRoom, store_pools
from pypimirror.on_demand.store import Store
from pypimirror.pipeline import lifecycle
from pypimirror.pipeline.context import pools
from pypimirror.pipeline.context.ledger import KeptLedger
from pypimirror.pipeline.context.reporter import LogReporter
from pypimirror.pipeline.executors.loop import at_work
from pypimirror.pipeline.run import Run, make
from pypimirror.select.selection import Selection, policy
from pypimirror.storage.durability import choose
from pypimirror.storage.opening import opener
from pypimirror.storage.workspace import Workspace
from pypimirror.system import clock

#: Attempts at a page or a file. A client waits, so there are fewer than in a sync.
TRIES = 3

#: Requests that a host gets at once to begin with. A sync finds the best number by and by; here, a
#: client waits that would ask for as much itself.
AT_ONCE = 50

#: Seconds between two checks whether another process has made the mirror.
_PAUSE = 0.2


@dataclass(frozen=True)
class Opened:
    """The objects that a fetcher works with."""

    run: Run  #: of the desk: its selection is the policy
    keeping: Run  #: of the keeper: its selection is that of a sync
    store: Store
    source: StoreFetcher
    worker: Worker


@contextmanager
def opened(config: Config) -> Iterator[Opened]:
    """Open everything. Raises `ConfigError`, `CatalogError`, `StorageError` and `OSError`."""
    config = _hurried(lifecycle.at_its_root(config))
    selection, allowed = Selection(config), policy(config)
    _make_mirror(config)
    with (
        closing(Catalog.open(config.catalog_url, migrating=False)) as catalog,
        damage.opened(catalog),
    ):
        workspace = Workspace(config.directory)
        workspace.create()
        run = _run_of_day(config, allowed, catalog, workspace)
        with (
            closing(run.pools),
            at_work(run, REQUEST, "1") as loop,
            closing(Store(workspace.private)) as store,
        ):
            stored, source = store_pools(run.pools, store)
            keeping = replace(
                run,
                selection=selection,
                pools=stored,
                workspace=loop.workspace,
                room=StoreRoom(config, source),
            )
            yield Opened(run, keeping, store, source, loop.worker)


def _run_of_day(config: Config, allowed: Selection, catalog: Catalog, workspace: Workspace) -> Run:
    """Return the run that records the work of a day, with the policy as its selection."""
    durability = choose(config.mirror.durability, config.directory, sqlite_file(config.catalog_url))
    storage = opener(config.bucket)(workspace, durability)
    storage.create()
    reporter = LogReporter()
    now = clock.now()
    with catalog.write() as connection:
        lose_dead(connection)
        run_id, name = requests.of_day(connection, config.digest(), now)
    ledger = KeptLedger(catalog, reporter)
    run = make(
        config,
        allowed,
        catalog,
        storage,
        workspace,
        reporter,
        ledger,
        None,
        id=run_id,
        name=name,
        make_pools=partial(pools.start, modest=AT_ONCE, gather=0.0),
        command=REQUEST,
        now=now,
    )
    if sqlite_file(config.catalog_url) is None:  # a file answers at once
        catalog.waiting = run.lanes.priority.given_up
    return run


def _hurried(config: Config) -> Config:
    """Return the configuration with few attempts, because clients wait, and with one process."""
    few = {"processes": 1, "tries": min(TRIES, config.download.tries)}
    return config.model_copy(update={"download": config.download.model_copy(update=few)})


def lose_dead(connection: Connection) -> None:
    """Note which fetchers have died, so that others may fetch their files."""
    requests.lose(connection, list(requests.alive(connection)), holder.this_machine())


def _make_mirror(config: Config) -> None:
    """Make or upgrade the mirror, if it is new or of an older version."""
    while not _is_made(config):
        try:
            with lifecycle.open_mirror(config):
                pass
        except LockedError:  # another process makes it
            time.sleep(_PAUSE)


def _is_made(config: Config) -> bool:
    if is_absent(config.catalog_url):
        return False
    try:
        with (
            closing(Catalog.open(config.catalog_url, migrating=False)) as catalog,
            catalog.read() as connection,
        ):
            return marks.is_set(connection, GENERATION)
    except CatalogError:
        return False
