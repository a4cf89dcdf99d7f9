"""A process on any machine becomes a worker of a run that another process leads.

It holds neither the lock nor the lease, and never changes the schema of the catalog. It works only
if it would write the same as the run:

* The run is under way, and this version of pypimirror began it.
* The mirror root here is that of the run: it has the generation that the run gave it.
* The keys on which configurations must agree are equal (`pypimirror.config.agreement`), and so are
  the selections, with all files that they name.

From then on, its claims protect the mirror: after it has lost them, or after the run was closed,
it writes neither to the catalog nor to served files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

import msgspec

from pypimirror import __version__
from pypimirror.catalog import damage
from pypimirror.catalog.database import Catalog, Connection, catalog_errors, sqlite_file
from pypimirror.catalog.queries import runs
from pypimirror.catalog.records import RunRecord
from pypimirror.config.settings import Config, ConfigError
from pypimirror.domain.model import ProjectName, PypimirrorError
from pypimirror.pipeline import lifecycle, ownership
from pypimirror.pipeline.closure import needs
from pypimirror.pipeline.context import pools
from pypimirror.pipeline.context.ledger import Ledger
from pypimirror.pipeline.context.pools import MakePools
from pypimirror.pipeline.context.reporter import Reporter
from pypimirror.pipeline.context.retry_plan import Retry
from pypimirror.pipeline.executors.loop import Loop, at_work
from pypimirror.pipeline.run import Run, make
from pypimirror.select.selection import Selection
from pypimirror.storage.durability import choose
from pypimirror.storage.opening import opener
from pypimirror.storage.storage import MakeStorage, Storage
from pypimirror.storage.workspace import Workspace
from pypimirror.system import interrupts

#: What a run tells its workers: digests by section, and that of the selection.
Agreed = Mapping[str, str]

_decode_names = msgspec.json.Decoder(tuple[ProjectName, ...]).decode


class RunOverError(PypimirrorError):
    """The run has ended, so there is nothing to do."""


def told(run: Run) -> dict[str, str]:
    """Return the digests by which workers know whether they agree with the run."""
    return _digests(run.config, run.selection)


def _digests(config: Config, selection: Selection) -> dict[str, str]:
    return {**config.digests_of_work(), "selection": selection.digest}


def is_over(config: Config, name: str) -> bool:
    """Whether the run has ended, as far as the catalog says."""
    with (
        closing(Catalog.open(config.catalog_url, migrating=False)) as catalog,
        catalog_errors(catalog),
        catalog.read() as connection,
    ):
        row = runs.find(connection, name)
        return row is None or row.state != runs.RUNNING


@contextmanager
def join(
    config: Config,
    name: str,
    *,
    executor: str,
    worker: str,
    agreed: Agreed,
    reporter: Reporter,
    make_pools: MakePools = pools.start,
    make_storage: MakeStorage | None = None,
) -> Iterator[tuple[Run, Loop]]:
    """Work on the run `name` as a worker named `worker`. `agreed` has the digests of the run.

    Raises `RunOverError`, `ConfigError`, `CatalogError` and `ClaimLostError`.
    """
    config = lifecycle.at_its_root(config)
    with (
        interrupts.raised(),
        closing(Catalog.open(config.catalog_url, migrating=False)) as catalog,
        damage.opened(catalog),
    ):
        workspace = Workspace(config.directory)
        file = sqlite_file(config.catalog_url)
        durability = choose(config.mirror.durability, config.directory, file)
        storage = (make_storage or opener(config.bucket))(workspace, durability)
        selection, row = _checked(config, name, agreed, catalog, storage)
        storage.create()
        run = make(
            config,
            selection,
            catalog,
            storage,
            workspace,
            reporter,
            Ledger(catalog, row.id, reporter),
            _decode_names(row.arguments) or None,
            make_pools=make_pools,
            id=row.id,
            name=row.name,
            command=row.command,
            retry=Retry(row.retry_of, "") if row.retry_of else None,
            now=row.started_at,
        )
        with closing(run.pools), at_work(run, executor, worker) as loop:
            try:
                yield run, loop
            finally:
                with interrupts.shield():
                    run.pools.close()  # nobody may write to what is given back now


def _checked(
    config: Config, name: str, agreed: Agreed, catalog: Catalog, storage: Storage
) -> tuple[Selection, RunRecord]:
    """Return the selection and the record of the run, if this process may work on it."""
    with catalog.read() as connection:
        row = _find(connection, name, catalog.shown)
        ownership.check_is_of_run(connection, storage, catalog.shown)
        selection = needs.remembered(connection, Selection(config))
    _compare(_digests(config, selection), agreed, config)
    return selection, row


def _find(connection: Connection, name: str, shown: str) -> RunRecord:
    """Return the run if it is under way, and if this version began it."""
    row = runs.find(connection, name) if name else None
    if row is None or row.name != name:
        raise ConfigError(
            f"catalog {shown}: has no run {name or '(no name was given)'}. A sync starts its "
            "workers itself. If one did, mirror.catalog names another catalog here than there"
        )
    if row.state != runs.RUNNING:
        raise RunOverError(f"run {name} is over: it is {row.state}")
    if row.version != __version__:
        raise ConfigError(
            f"run {name} is one of pypimirror {row.version}, and here is {__version__}: install "
            "the same version on all machines"
        )
    return row


def _compare(ours: Agreed, theirs: Agreed, config: Config) -> None:
    """Raise `ConfigError` if this worker would write something else than the run."""
    differing = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
    if differing:
        raise ConfigError(
            config.blame(
                f"{', '.join(differing)}: not as in the configuration of the run. Use the same "
                "file on all machines. Only what concerns one machine may differ, such as "
                "directory, catalog, logins, proxies and connections"
            )
        )
