"""The life of a run, from its beginning to its end.

`sync` takes the lock and the lease, opens the catalog and the mirror root, records the run, and
always closes the record (`pypimirror.pipeline.conclude`). The caller says what work is done in
between.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from packaging.utils import InvalidName, canonicalize_name

from pypimirror.catalog import clocks, damage
from pypimirror.catalog.database import Catalog, catalog_errors, sqlite_file
from pypimirror.catalog.engines import errors
from pypimirror.catalog.lease import Lease
from pypimirror.catalog.queries import runs
from pypimirror.config import outputs
from pypimirror.config.settings import Config, ConfigError
from pypimirror.domain.model import ProjectName, PypimirrorError, Stage
from pypimirror.pipeline import conclude, gate, ownership, waiting
from pypimirror.pipeline import retry as retries
from pypimirror.pipeline.closure import needs
from pypimirror.pipeline.context import pools
from pypimirror.pipeline.context.ledger import Ledger
from pypimirror.pipeline.context.pools import MakePools
from pypimirror.pipeline.context.reporter import LogReporter, Reporter
from pypimirror.pipeline.context.retry_plan import Retry
from pypimirror.pipeline.download import staging
from pypimirror.pipeline.run import Run, make
from pypimirror.pipeline.summary import Summary
from pypimirror.select.selection import Selection
from pypimirror.storage import hard_links, lock
from pypimirror.storage.changes import Changes
from pypimirror.storage.durability import choose
from pypimirror.storage.opening import opener
from pypimirror.storage.storage import MakeStorage, Storage
from pypimirror.storage.workspace import Workspace
from pypimirror.system import abrupt, clock, interrupts
from pypimirror.system.disk_errors import storage_errors
from pypimirror.system.workers import Cancelled

_CLOCK_WAS_AHEAD = (
    "earlier runs noted times in the future, so a clock was ahead, or is behind now; these times "
    "are ignored, and the next verification reads the files of that time again"
)


def check_names(selection: Selection, names: Sequence[str]) -> tuple[ProjectName, ...] | None:
    """Normalise the project names of a command. Raises `ConfigError` if one is not selected."""
    if not names:
        return None
    try:
        valid = [ProjectName(canonicalize_name(name, validate=True)) for name in names]
    except InvalidName as error:
        raise ConfigError(f"{error}; name projects as the index does, without a version") from error
    checked = tuple(dict.fromkeys(valid))
    for name in checked:
        if not selection.project(name):
            raise ConfigError(f"{name}: is not selected; add it to select.projects")
    return checked


@contextmanager
def open_mirror(config: Config) -> Iterator[tuple[Catalog, Workspace]]:
    """Hold lock and lease, and open catalog and mirror root. Create them if they do not exist."""
    with _open_mirror(at_its_root(config)) as opened:
        yield opened.catalog, opened.workspace


def at_its_root(config: Config) -> Config:
    """Return the configuration with all symbolic links in the mirror root resolved.

    The run must write to the directory that it has locked, even if somebody changes the link.
    """
    mirror = config.mirror.model_copy(update={"directory": config.directory.resolve()})
    return config.model_copy(update={"mirror": mirror})


@contextmanager
def _catalog_of_its_own(file: Path | None) -> Iterator[None]:
    """Break hard links that `cp -al` made between this catalog and a copy of it.

    Call it with the lock held: copies made by `cp -al` share the lock.
    """
    if file is not None:
        with storage_errors(file):
            hard_links.part([Path(f"{file}{end}") for end in ("", "-wal", "-shm")])
    yield


class _Opened(NamedTuple):
    """A mirror whose lock and lease are held."""

    catalog: Catalog
    storage: Storage
    workspace: Workspace
    lease: Lease
    held: lock.HeldLock


@contextmanager
def _open_mirror(config: Config, make_storage: MakeStorage | None = None) -> Iterator[_Opened]:
    catalog_file = sqlite_file(config.catalog_url)
    durability = choose(config.mirror.durability, config.directory, catalog_file)
    workspace = Workspace(config.directory)
    workspace.create()
    storage = (make_storage or opener(config.bucket))(workspace, durability)
    storage.create()
    # Take the lock first: a migration must not change the catalog under another run.
    with (
        interrupts.raised(),
        lock.hold(workspace.private / "lock") as held,
        _catalog_of_its_own(catalog_file),
        closing(Catalog.open(config.catalog_url)) as catalog,
        damage.opened(catalog),
        ownership.hold(catalog, workspace, storage, claim=True) as lease,
    ):
        yield _Opened(catalog, storage, workspace, lease, held)


def sync(
    config: Config,
    names: Sequence[str],
    work: Callable[[Run], None],
    *,
    trigger: str,
    command: str = "sync",
    reporter: Reporter | None = None,
    retry: str | None = None,
    options: Sequence[str] = (),
    wait: float = 0.0,
    make_pools: MakePools = pools.start,
    make_storage: MakeStorage | None = None,
) -> Summary:
    """Hold the lock, record a run, call `work`, and return how the run ended.

    `retry` is the name of an earlier run: then only the unfinished work of that run is done. If it
    left nothing, no run is recorded and the summary has no run name. `options` are recorded beside
    `names`. If another run works on the mirror, wait up to `wait` seconds for its end. Raises
    `ConfigError`, `LockedError`, `LeaseLostError`, `CatalogError` and `StorageError` before the run
    is recorded, and `CatalogError` if its record cannot be closed. Otherwise the summary holds
    every error.
    """
    selection = Selection(config)
    # A needed or resolved project may be named as well, and only the catalog knows these.
    if not config.select.dependencies:
        check_names(selection, names)
    config = at_its_root(config)
    reporter = reporter or LogReporter()
    opened = waiting.patiently(lambda: _open_mirror(config, make_storage), wait, reporter.announce)
    with opened as mirror:
        start = _start(
            mirror,
            config,
            selection,
            names,
            command=command,
            trigger=trigger,
            retry=retry,
            options=options,
        )
        if start is None:
            return Summary.of_nothing(command, f"Nothing to retry: no work of {retry} is left")
        run = _made(mirror, config, start, reporter, make_pools, command)
        mirror.lease.on_lost = run.cancel
        _announce(run, clock_was_ahead=start.clock_was_ahead)
        mirror.held.name(run.name)
        return _perform(run, lambda run: _noting_changes(run, partial(_work, work=work)))


class _Started(NamedTuple):
    """The recorded start of a run, and what was decided with it."""

    id: int
    name: str
    selection: Selection  #: with the projects that other selected projects require
    names: tuple[ProjectName, ...] | None  #: the projects that the run is limited to
    retry: Retry | None
    now: float
    clock_was_ahead: bool


def _start(
    mirror: _Opened,
    config: Config,
    selection: Selection,
    names: Sequence[str],
    *,
    command: str,
    trigger: str,
    retry: str | None,
    options: Sequence[str],
) -> _Started | None:
    """Record the start of a run. Return None if it is a retry, and nothing is left to do."""
    now = clock.now()
    with catalog_errors(mirror.catalog):
        staging.sweep(mirror.catalog, mirror.workspace)
    with catalog_errors(mirror.catalog), mirror.catalog.write() as connection:
        runs.close_crashed(connection)
        clock_was_ahead = clocks.disbelieve(connection, now)
        selection = needs.remembered(connection, selection)
        checked = check_names(selection, names)
        again = None
        if retry is not None:
            again = retries.plan(connection, selection, retry, command)
            if again is None:
                return None
            checked = again.names
        number, name = runs.start(
            connection,
            command=command,
            trigger=trigger,
            config=config.digest(),
            arguments=[*(checked or ()), *options],
            now=now,
            retry_of=again.of if again is not None else None,
        )
    return _Started(number, name, selection, checked, again, now, clock_was_ahead)


def _made(
    mirror: _Opened,
    config: Config,
    start: _Started,
    reporter: Reporter,
    make_pools: MakePools,
    command: str,
) -> Run:
    return make(
        config,
        start.selection,
        mirror.catalog,
        mirror.storage,
        mirror.workspace,
        reporter,
        Ledger(mirror.catalog, start.id, reporter),
        start.names,
        make_pools=make_pools,
        id=start.id,
        name=start.name,
        command=command,
        lease=mirror.lease,
        retry=start.retry,
        now=start.now,
    )


def _announce(run: Run, *, clock_was_ahead: bool) -> None:
    """Say what is special about a run that begins."""
    if clock_was_ahead:
        run.reporter.note("warning", _CLOCK_WAS_AHEAD)
    if run.retry is not None:
        run.reporter.announce(run.retry.summary)
    _warn_of_root(run)


def _work(run: Run, work: Callable[[Run], None]) -> None:
    """Settle doubts about the mirror, then do the work of the run."""
    # A verification settles doubts itself, and only if it repairs.
    if run.command != "verify" and ownership.is_in_doubt(run.catalog):
        from pypimirror.pipeline.audit import doubt

        doubt.settle(run)
    if run.config.select.dependencies == "resolved":
        from pypimirror.pipeline import resolution  # few configurations ask for it

        with gate.open_to_requests(run):  # it asks upstreams, and changes nothing that is served
            run = resolution.apply(run)
    work(run)


def _warn_of_root(run: Run) -> None:
    """Warn if root runs this command on a directory of another user."""
    directory = run.config.directory
    owner = directory.stat().st_uid
    if os.geteuid() == 0 != owner:
        run.reporter.note(
            "warning",
            f"this is root, and {directory} belongs to user {owner}, who cannot change what root "
            "makes there; run as that user",
        )


def _noting_changes(run: Run, work: Callable[[Run], None]) -> None:
    """Do the work of a run. Write the list of changes if `publish.changes` asks for it."""
    publish = run.config.publish
    if publish.changes is None:
        work(run)
        return
    path = Path(str(publish.changes).replace("{run}", run.name))
    catalog = sqlite_file(run.config.catalog_url)
    if why := outputs.fault(path, run.workspace.directory, [catalog] if catalog else []):
        raise ConfigError(run.config.blame(f"publish.changes: {path} {why}"))
    journal = run.workspace.private / "changes"
    with closing(Changes(path, publish.changes_format, journal)) as run.storage.changes:
        work(run)


def _perform(run: Run, work: Callable[[Run], None]) -> Summary:
    """Do the work of a recorded run and close its record."""
    state, message = runs.FAILED, "ended by an error of the program"
    try:
        with damage.reported(run.catalog.shown, run.catalog.read):
            work(run)
        if run.ledger.unreachable:
            message = run.ledger.unreachable.message
            run.ledger.failed(Stage.DISCOVER, [run.ledger.unreachable])
        elif run.ledger.no_room:
            message = run.ledger.no_room.message
            run.ledger.failed(Stage.DOWNLOAD, [run.ledger.no_room])
        else:
            state, message = runs.COMPLETED, run.ledger.remark
    except (KeyboardInterrupt, Cancelled) as error:
        interrupts.heard()
        run.cancel()
        state, message = conclude.ended_by(run, error)
    except (PypimirrorError, errors.SQLAlchemyError, OSError) as error:
        state, message = conclude.ended_by(run, error)
    except MemoryError:
        message = abrupt.OUT_OF_MEMORY
        raise
    finally:
        with interrupts.shield():
            run.pools.close()
            summary = conclude.close(run, state, message)
    return summary
