"""The beginning and the end of a run, and its record in the history.

`sync` takes the lock and the lease, opens the catalog and the mirror root, and always closes the
record of the run. The caller says what work is done in between.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from packaging.utils import InvalidName, canonicalize_name

from pypimirror.catalog import clocks, damage, engines
from pypimirror.catalog.database import (
    Catalog,
    CatalogError,
    SQLAlchemyError,
    sqlite_file,
)
from pypimirror.catalog.lease import Lease, LeaseLostError
from pypimirror.catalog.queries import runs, statistics, totals
from pypimirror.config import outputs
from pypimirror.config.settings import Config, ConfigError
from pypimirror.domain.model import Problem, ProjectName, PypimirrorError, Reason, Stage
from pypimirror.pipeline import backlog, gate, history, ownership, waiting
from pypimirror.pipeline import retry as retries
from pypimirror.pipeline.closure import needs
from pypimirror.pipeline.context import pools
from pypimirror.pipeline.context.ledger import Ledger
from pypimirror.pipeline.context.pools import MakePools
from pypimirror.pipeline.context.reporter import LogReporter, Reporter
from pypimirror.pipeline.download import staging
from pypimirror.pipeline.run import Run, make
from pypimirror.pipeline.summary import COUNTS, Summary
from pypimirror.select.selection import Selection
from pypimirror.storage import links, lock
from pypimirror.storage.changes import Changes
from pypimirror.storage.durability import choose
from pypimirror.storage.opening import opener
from pypimirror.storage.storage import MakeStorage, Storage
from pypimirror.storage.workspace import Workspace
from pypimirror.system import abrupt, clock, interrupts
from pypimirror.system.disk_errors import storage_errors
from pypimirror.system.space import remedy
from pypimirror.system.workers import Cancelled, WorkersError

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
def catalog_errors(catalog: Catalog) -> Iterator[None]:
    """Turn errors of the database into `CatalogError`."""
    try:
        yield
    except SQLAlchemyError as error:
        raise CatalogError(as_problem(error, catalog).message) from error


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
            links.part([Path(f"{file}{end}") for end in ("", "-wal", "-shm")])
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
        catalog_errors(catalog),
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
    with opened as (catalog, storage, workspace, lease, held):
        now = clock.now()
        with catalog_errors(catalog):
            staging.sweep(catalog, workspace)
        with catalog_errors(catalog), catalog.write() as connection:
            runs.close_crashed(connection)
            is_wrong = clocks.disbelieve(connection, now)
            selection = needs.remembered(connection, selection)
            checked = check_names(selection, names)
            again = None
            if retry is not None:
                again = retries.plan(connection, selection, retry, command)
                if again is None:
                    message = f"Nothing to retry: no work of {retry} is left"
                    return Summary.of_nothing(command, message)
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
        run = make(
            config,
            selection,
            catalog,
            storage,
            workspace,
            reporter,
            Ledger(catalog, number, reporter),
            checked,
            make_pools=make_pools,
            id=number,
            name=name,
            command=command,
            lease=lease,
            retry=again,
            now=now,
        )
        lease.on_lost = run.cancel
        if is_wrong:
            run.reporter.note("warning", _CLOCK_WAS_AHEAD)
        if run.retry is not None:
            run.reporter.announce(run.retry.summary)
        _warn_of_root(run)
        held.name(run.name)
        return _perform(run, lambda run: _noting_changes(run, partial(_work, work=work)))


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
    except (KeyboardInterrupt, PypimirrorError, SQLAlchemyError, OSError) as error:
        if isinstance(error, KeyboardInterrupt | Cancelled):
            interrupts.heard()
            run.cancel()
        state, message = _ended_by(run, error)
    except MemoryError:
        message = abrupt.OUT_OF_MEMORY
        raise
    finally:
        with interrupts.shield():
            run.pools.close()
            summary = _closed(run, state, message)
            _forget_old_runs(run, summary.state)
            _write_metrics(run)
    return summary


def _ended_by(run: Run, error: BaseException) -> tuple[str, str]:
    """Record the error that ended a run. Return the state and the message of the run."""
    lost = run.lease.lost if run.lease is not None else None
    if lost is not None:
        # The run lost its lease. It may only write its own record, which no other run touches.
        run.catalog.guard = lambda: None
        run.catalog.give_up()
        error = lost
    if isinstance(error, KeyboardInterrupt | Cancelled):
        return runs.CANCELLED, "cancelled"
    assert isinstance(error, PypimirrorError | SQLAlchemyError | OSError)
    problem = as_problem(error, run.catalog)
    with catalog_errors(run.catalog):  # the catalog may be on the same full disk
        run.ledger.failed(run.ledger.stage, [problem])
    return runs.FAILED, problem.message


#: If one of these counts of a run is not 0, the statistics of all files have changed.
_MOVING = ("files_verified", "files_withdrawn", "files_found", "files_checked", "files_quarantined")


def _write_metrics(run: Run) -> None:
    """Write the metrics file if one is configured. A failure is only a warning."""
    if run.config.metrics.textfile is not None:
        from pypimirror.metrics.exposition import write_textfile

        try:
            write_textfile(run.config, run.config.metrics.textfile)
        except (PypimirrorError, OSError) as error:
            run.reporter.note("warning", f"no metrics were written: {error}")


def _forget_old_runs(run: Run, state: str) -> None:
    """Delete old runs from the history. A failure is only a warning."""
    if state in (runs.COMPLETED, runs.INCOMPLETE):
        try:
            history.prune(run)
        except (SQLAlchemyError, LeaseLostError) as error:
            run.reporter.note("warning", f"old runs stay in the history: {error}")


#: The reason for each kind of error that ends a run and carries no `Problem`.
_REASONS: dict[type[PypimirrorError], Reason] = {
    ConfigError: Reason.CONFIGURATION,
    CatalogError: Reason.CATALOG,
    WorkersError: Reason.WORKER,
}


def as_problem(error: PypimirrorError | SQLAlchemyError | OSError, catalog: Catalog) -> Problem:
    """Return the problem that describes an error."""
    if isinstance(error, SQLAlchemyError):
        return Problem(Reason.CATALOG, f"catalog {catalog.shown}: {engines.message(error)}")
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return Problem(Reason.DISK, f"{where}{error.strerror or error}. {remedy(error)}")
    if (problem := getattr(error, "problem", None)) is not None:
        return problem  # type: ignore[no-any-return]
    causes = (reason for kind, reason in _REASONS.items() if isinstance(error, kind))
    return Problem(next(causes, Reason.INTERNAL), str(error))


def _closed(run: Run, state: str, message: str) -> Summary:
    """Close the record of a run and return its summary, even if its lease is lost meanwhile."""
    try:
        return _close(run, state, message)
    except LeaseLostError as error:
        return _close(run, *_ended_by(run, error))


def _close(run: Run, state: str, message: str) -> Summary:
    """Close the record of a run and return its summary."""
    with catalog_errors(run.catalog), run.catalog.write() as connection:
        backlog.record(run, connection)
        rows = runs.failures_of(connection, run.id)
        failed = [
            (Problem(Reason(r.reason), r.message, r.project, r.file, r.url, r.attempts), r.stage)
            for r in rows
        ]
        denied = backlog.denied(run, connection, [problem for problem, _ in failed])
        apart = set(denied)
        failures = [(problem, stage) for problem, stage in failed if problem not in apart]
        if state == runs.COMPLETED and failures:
            state = runs.INCOMPLETE
        counts = {key: run.ledger.counts[key] for key in COUNTS[run.command]}
        counts["files_failed"] = len({(p.project, p.file) for p, _ in failures if p.file})
        counts["files_denied"] = len({(p.project, p.file) for p in denied})
        last = statistics.last(connection)
        moved = any(run.ledger.counts[name] for name in _MOVING)
        # With millions of files, counting takes seconds. Do it only where nobody waits for it.
        if state in (runs.COMPLETED, runs.INCOMPLETE) and (
            last is None or (moved and (run.command == "verify" or last.is_old(run.now)))
        ):
            statistics.keep(connection, statistics.take(connection, run.now))
        age = history.age(connection)
        runs.end(connection, run.id, state, message, counts, had_work=not run.ledger.idle)
        history.note_day(run, connection, age, (problem for problem, _ in failures))
        held = totals.held(connection)
    seconds = clock.steady() - run.began
    problems, stages = [problem for problem, _ in failures], [stage for _, stage in failures]
    return Summary(run.name, state, counts, seconds, problems, stages, message, denied, held)
