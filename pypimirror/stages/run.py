"""A run: what its stages share, and its record in the history.

`sync` takes the lock, opens the catalog and the mirror root, and closes the record whatever
happens in between. Time is fixed once per run.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from packaging.utils import InvalidName, canonicalize_name
from sqlalchemy.exc import SQLAlchemyError

from pypimirror import interrupts, lock
from pypimirror.catalog import engines, runs, statistics
from pypimirror.catalog.database import Catalog, CatalogError, sqlite_file
from pypimirror.changes import Changes
from pypimirror.config import Config, ConfigError
from pypimirror.download.protocol import FromWorker, Hello, Job, Remote, Result
from pypimirror.durability import choose
from pypimirror.lease import Lease
from pypimirror.model import Problem, ProjectName, PypimirrorError, Reason, Stage
from pypimirror.sections import UpstreamSection
from pypimirror.select.selection import Selection
from pypimirror.space import Room, remedy
from pypimirror.stages import history, ownership, staging, standing
from pypimirror.stages import retry as retries
from pypimirror.stages.reporter import LogReporter, Reporter
from pypimirror.stages.retry import Retry
from pypimirror.tree import Tree
from pypimirror.verify import protocol as verify_protocol
from pypimirror.verify.protocol import Check, Checked
from pypimirror.workers import Cancelled, Workers

if TYPE_CHECKING:
    from pypimirror.stages.linkpages import Reading


def remotes(config: Config) -> tuple[Remote, ...]:
    """Return every place that pages and files may come from: upstreams and their alternates."""
    return tuple(
        Remote(name, url, upstream.hosts)
        for upstream in config.upstream
        for name, url in places(upstream)
    )


def places(upstream: UpstreamSection) -> Iterator[tuple[str, str]]:
    """Yield name and address of an upstream and of each of its alternates."""
    yield upstream.name, upstream.url
    for url in upstream.alternates:
        yield url, url


#: What a run counts, by command; the keys of `counts` in JSON.
COUNTS = {
    "sync": (
        "projects_seen",
        "projects_changed",
        "files_found",
        "files_downloaded",
        "files_reused",
        "files_verified",
        "files_failed",
        "files_quarantined",
        "files_withdrawn",
        "pages_written",
        "bytes_downloaded",
    ),
    "adopt": (
        "projects_seen",
        "projects_changed",
        "files_found",
        "files_reused",
        "files_verified",
        "files_missing",
        "files_failed",
        "files_quarantined",
        "pages_written",
        "bytes_checked",
    ),
    "verify": (
        "files_checked",
        "files_failed",
        "files_downloaded",
        "files_verified",
        "pages_written",
        "repaired",
        "bytes_checked",
        "bytes_downloaded",
    ),
}


#: Small jobs, or megabytes, that wait for each verification worker: enough that none is idle.
_CHECKS = 32

#: Counts of the stage of a batch that is under way in this thread.
_stage_counts: ContextVar[Counter[str] | None] = ContextVar("stage counts", default=None)


class StoppedError(PypimirrorError):
    """The run could not work: nothing answered, the disk is full, the guard stepped in."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


@dataclass(frozen=True)
class Observed:
    """What bytes are, seen while they were written or read by this very process."""

    size: int  #: bytes
    sha256: bytes
    url: str = ""  #: where they came from, where that is known
    stamp: int | None = None  #: of the file in staging then; see `tree.stamp`


@dataclass
class Run:
    """One run over one mirror. Built by `sync`."""

    config: Config
    selection: Selection
    catalog: Catalog
    tree: Tree
    reporter: Reporter
    names: tuple[ProjectName, ...] | None  #: the projects that the run is limited to
    id: int = 0
    name: str = ""
    command: str = "sync"
    lease: Lease | None = None  #: None in a rehearsal
    now: float = field(default_factory=time.time)  #: seconds since the epoch
    counts: Counter[str] = field(default_factory=Counter)
    #: The projects whose pages are asked for because a list has them, with their serials there.
    listed: dict[str, int | None] = field(default_factory=dict)
    #: Whether any upstream has answered in this run.
    answered: bool = False
    #: The stage that ended the run, where one did.
    stage: Stage = Stage.DISCOVER
    #: What this process has observed of the bytes of files that are fetched and not verified.
    observed: dict[int, Observed] = field(default_factory=dict)
    #: Whether files may be fetched; else only what is here already is taken over.
    fetches: bool = True
    #: What lies in the places of files and is not what is claimed: digests, size, what is wrong.
    in_the_way: dict[int, tuple[Mapping[str, str], int, Problem]] = field(default_factory=dict)
    #: Links that were tried, by file: the place's name and the address.
    tried: dict[int, set[tuple[str, str]]] = field(default_factory=dict)
    #: What pages of links say, by the name of the place.
    link_pages: dict[str, Reading] = field(default_factory=dict)
    #: Whether nothing new may be begun.
    cancelled: bool = False
    #: Why there is no use in asking an upstream again in this run.
    unreachable: Problem | None = None
    #: What it does again of an earlier run, where that is all that it does.
    retry: Retry | None = None
    #: Why nothing more is downloaded in this run.
    no_room: Problem | None = None
    #: The room on disk, and what of it downloads under way will take.
    room: Room = field(init=False)
    _counting: threading.Lock = field(default_factory=threading.Lock)
    _set_aside: int = 0  # bytes that went to quarantine since it was trimmed
    #: The download workers and the verification workers; their processes start when there is work.
    workers: Workers[Job, Result] = field(init=False)
    checkers: Workers[Check, Checked] = field(init=False)

    def __post_init__(self) -> None:
        config = self.config
        self.room = Room(self.tree.directory, int(config.mirror.reserve))
        hello = Hello(
            remotes=remotes(config),
            connections=config.download.connections,
            timeout=config.download.timeout,
            tries=config.download.tries,
            user_agent=config.user_agent,
            max_file_size=int(config.download.max_file_size),
        )
        self.workers = Workers(
            module="pypimirror.download.worker",
            processes=config.processes,
            hello=hello,
            decoder=msgspec.json.Decoder(FromWorker),
            on_note=lambda note: self.reporter.note(note.level, note.message),
        )
        self.checkers = Workers(
            module="pypimirror.verify.worker",
            processes=config.processes,
            hello=verify_protocol.Hello(),
            in_flight=_CHECKS,
            in_order=True,
            decoder=msgspec.json.Decoder(verify_protocol.FromWorker),
            on_note=lambda note: self.reporter.note(note.level, note.message),
        )

    @property
    def due_at(self) -> float | None:
        """When files must be due for this run to try them; None: it makes none of them wait."""
        waits = self.names is None and self.retry is None and self.fetches
        return self.now if waits else None

    def count(self, **changes: int) -> None:
        """Add to the counts of the run, and of the stage that it is called in."""
        with self._counting:
            self.counts.update(changes)
        if (stage := _stage_counts.get()) is not None:
            stage.update(changes)

    def is_time_to_trim(self, set_aside: int, limit: float) -> bool:
        """Note bytes that went to quarantine; whether more than `limit` did since this was so."""
        with self._counting:
            self._set_aside += set_aside
            if self._set_aside <= limit:
                return False
            self._set_aside = 0
            return True

    @contextmanager
    def counting(self) -> Iterator[Counter[str]]:
        """Count apart what a stage of a batch does."""
        counts: Counter[str] = Counter()
        token = _stage_counts.set(counts)
        try:
            yield counts
        finally:
            _stage_counts.reset(token)

    def failed(self, stage: Stage, problems: Iterable[Problem]) -> None:
        """Record and report what failed."""
        found = list(problems)
        self.record(stage, found)
        for problem in found:
            self.reporter.problem(stage, problem)

    def record(self, stage: Stage, problems: Sequence[Problem]) -> None:
        """Record what failed and was reported already."""
        if problems:
            self.catalog.apply(
                lambda connection: runs.add_failures(connection, self.id, stage, problems)
            )

    def fetch(
        self,
        jobs: Iterable[Job],
        on_progress: Callable[[Job, int], None] = lambda *_: None,
    ) -> Iterator[Result]:
        """Let the workers do `jobs`; yield the answers as they come.

        `on_progress` hears of bytes that came in for a job, since the last time.
        """

        def progress(job: Job, size: int) -> None:
            self.reporter.advance(Stage.DOWNLOAD, size=size)
            on_progress(job, size)

        return self.workers.run(jobs, on_progress=progress)

    def check(self, jobs: Iterable[Check]) -> Iterator[Checked]:
        """Let the verification workers do `jobs`; yield the answers as they come."""
        return self.checkers.run(jobs)

    def cancel(self) -> None:
        """End what is under way, in any thread, with `Cancelled`."""
        self.cancelled = True
        self.catalog.give_up()
        self.workers.cancel()
        self.checkers.cancel()

    def close(self) -> None:
        """End the workers."""
        self.workers.close()
        self.checkers.close()


@dataclass(frozen=True)
class Summary:
    """How a run ended."""

    run: str  #: its name; "" where nothing was left to do, and so no run was needed
    state: str
    counts: dict[str, int]
    seconds: float
    failures: list[Problem]
    stages: list[str]  #: in which stage each of `failures` happened
    message: str

    @classmethod
    def of_nothing(cls, command: str, message: str) -> Summary:
        """Say that there was nothing to do, and so no run."""
        return cls("", runs.COMPLETED, dict.fromkeys(COUNTS[command], 0), 0.0, [], [], message)

    def as_json(self) -> dict[str, Any]:
        """Return the document that `sync --json` prints."""
        return {
            "run": self.run or None,
            "state": self.state,
            "counts": self.counts,
            "seconds": round(self.seconds, 3),
            "failures": [
                {
                    "project": problem.project,
                    "file": problem.file,
                    "stage": stage,
                    "reason": problem.reason.value,
                    "message": problem.message,
                }
                for problem, stage in zip(self.failures, self.stages, strict=True)
            ],
        }


def check_names(selection: Selection, names: Sequence[str]) -> tuple[ProjectName, ...] | None:
    """Normalise the projects that a command names; raises `ConfigError` on one not selected."""
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
def _catalog_errors(catalog: Catalog) -> Iterator[None]:
    """Translate the database's errors."""
    try:
        yield
    except SQLAlchemyError as error:
        raise CatalogError(_as_problem(error, catalog).message) from error


@contextmanager
def open_mirror(config: Config) -> Iterator[tuple[Catalog, Tree]]:
    """Hold lock and lease, and open catalog and mirror root, making what is not there.

    Raises `LockedError`, `CatalogError` and `TreeError`.
    """
    with _open_mirror(config) as (catalog, tree, _):
        yield catalog, tree


@contextmanager
def _open_mirror(config: Config) -> Iterator[tuple[Catalog, Tree, Lease]]:
    catalog_file = sqlite_file(config.catalog_url)
    durability = choose(config.mirror.durability, config.directory, catalog_file)
    tree = Tree(config.directory, durability=durability)
    tree.create()
    # The lock comes first: what a migration changes must not change under another run.
    with (
        lock.hold(tree.private / "lock"),
        closing(Catalog.open(config.catalog_url)) as catalog,
        _catalog_errors(catalog),
        ownership.hold(catalog, tree, claim=True) as lease,
    ):
        yield catalog, tree, lease


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
) -> Summary:
    """Hold the lock, record a run, let `work` do it, and say how it ended.

    With `retry`, the name of an earlier run, only what is left of that one is done; where nothing
    is, there is no run, and the summary names none. `options` are recorded beside `names`.
    Raises `ConfigError`, `LockedError`, `CatalogError` and `TreeError` before there is a run;
    afterwards everything that goes wrong is in the summary.
    """
    selection = Selection(config)
    checked = check_names(selection, names)
    with _open_mirror(config) as (catalog, tree, lease):
        run = Run(config, selection, catalog, tree, reporter or LogReporter(), checked)
        run.command, run.lease = command, lease
        lease.on_lost = run.cancel
        tree.clear_private()
        with _catalog_errors(catalog):
            staging.sweep(catalog, tree)
        with _catalog_errors(catalog), catalog.write() as connection:
            runs.close_crashed(connection)
            if retry is not None:
                run.retry = retries.plan(connection, selection, retry, command)
                if run.retry is None:
                    run.close()
                    message = f"Nothing to retry: all that {retry} left undone has been done"
                    return Summary.of_nothing(command, message)
                run.names = run.retry.names
            run.id, run.name = runs.start(
                connection,
                command=command,
                trigger=trigger,
                config=config.digest(),
                arguments=[*(run.names or ()), *options],
                now=run.now,
                retry_of=run.retry.of if run.retry is not None else None,
            )
        if run.retry is not None:
            run.reporter.announce(run.retry.said)
        return _perform(run, lambda run: _noting_changes(run, work))


def _noting_changes(run: Run, work: Callable[[Run], None]) -> None:
    """Do the work of a run; note what it changes where the configuration asks for it."""
    publish = run.config.publish
    if publish.changes is None:
        work(run)
        return
    path = Path(str(publish.changes).replace("{run}", run.name))
    with closing(Changes(path, publish.changes_format)) as run.tree.changes:
        work(run)


def _perform(run: Run, work: Callable[[Run], None]) -> Summary:
    """Do the work of a recorded run; close its record."""
    state, message = runs.FAILED, "ended by an error of the program"
    try:
        work(run)
        if run.unreachable:
            message = run.unreachable.message
            run.failed(Stage.DISCOVER, [run.unreachable])
        elif run.no_room:
            message = run.no_room.message
            run.failed(Stage.DOWNLOAD, [run.no_room])
        else:
            state, message = runs.COMPLETED, ""
    except (KeyboardInterrupt, PypimirrorError, SQLAlchemyError, OSError) as error:
        if isinstance(error, KeyboardInterrupt | Cancelled):
            interrupts.heard()
            run.cancel()
        state, message = _ended_by(run, error)
    finally:
        with interrupts.shield():
            run.close()
            summary = _close(run, state, message)
            _forget_old_runs(run, summary.state)
            _write_metrics(run)
    return summary


def _ended_by(run: Run, error: BaseException) -> tuple[str, str]:
    """Record what has ended a run; return its state and message."""
    lost = run.lease.lost if run.lease is not None else None
    if lost is not None:
        # What is left to write is this run's own record, and nobody else's business.
        run.catalog.guard = lambda: None
        run.catalog.give_up()
        error = lost
    if isinstance(error, KeyboardInterrupt | Cancelled):
        return runs.CANCELLED, "cancelled"
    assert isinstance(error, PypimirrorError | SQLAlchemyError | OSError)
    problem = _as_problem(error, run.catalog)
    with _catalog_errors(run.catalog):  # it may be on the same disk
        run.failed(run.stage, [problem])
    return runs.FAILED, problem.message


#: Counts of a run after which the figures on all files are others.
_MOVING = ("files_verified", "files_withdrawn", "files_found", "files_checked", "files_quarantined")


def _write_metrics(run: Run) -> None:
    if run.config.metrics.textfile is not None:
        from pypimirror.metrics import write_textfile

        try:
            write_textfile(run.config, run.config.metrics.textfile)
        except (PypimirrorError, OSError) as error:
            run.reporter.note("warning", f"no metrics were written: {error}")


def _forget_old_runs(run: Run, state: str) -> None:
    if state in (runs.COMPLETED, runs.INCOMPLETE):
        try:
            history.prune(run)
        except SQLAlchemyError as error:
            run.reporter.note("warning", f"old runs stay in the history: {error}")


def _as_problem(error: PypimirrorError | SQLAlchemyError | OSError, catalog: Catalog) -> Problem:
    if isinstance(error, SQLAlchemyError):
        return Problem(Reason.CATALOG, f"catalog {catalog.shown}: {engines.message(error)}")
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return Problem(Reason.DISK, f"{where}{error.strerror or error}. {remedy(error)}")
    return getattr(error, "problem", None) or Problem(Reason.INTERNAL, str(error))


def _close(run: Run, state: str, message: str) -> Summary:
    with _catalog_errors(run.catalog), run.catalog.write() as connection:
        said = {(row.project, row.file) for row in runs.failures_of(connection, run.id)}
        for stage, problems in standing.told(run, connection).items():
            news = [problem for problem in problems if (problem.project, problem.file) not in said]
            runs.add_failures(connection, run.id, stage, news)
        rows = runs.failures_of(connection, run.id)
        failures = [
            Problem(Reason(r.reason), r.message, r.project, r.file, r.url, r.attempts) for r in rows
        ]
        if state == runs.COMPLETED and failures:
            state = runs.INCOMPLETE
        counts = {key: run.counts[key] for key in COUNTS[run.command]}
        counts["files_failed"] = len(
            {(problem.project, problem.file) for problem in failures if problem.file}
        )
        last = statistics.last(connection)
        moved = any(run.counts[name] for name in _MOVING)
        # Counting takes seconds where there are millions of files: not for somebody who waits.
        if state in (runs.COMPLETED, runs.INCOMPLETE) and (
            last is None or (moved and last.is_old(run.now))
        ):
            statistics.keep(connection, statistics.take(connection, run.now))
        runs.end(connection, run.id, state, message, counts)
    seconds = max(0.0, time.time() - run.now)  # clocks are set back at times
    return Summary(run.name, state, counts, seconds, failures, [r.stage for r in rows], message)
