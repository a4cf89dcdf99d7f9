"""A run, as its stages see it: what they share. Time is fixed once per run.

How a run begins and ends is `pypimirror.pipeline.lifecycle`'s.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import msgspec

from pypimirror.catalog.database import Catalog
from pypimirror.catalog.lease import Lease
from pypimirror.catalog.queries import runs
from pypimirror.config.sections import UpstreamSection
from pypimirror.config.settings import Config
from pypimirror.domain.addresses import basic, login_of, without_login
from pypimirror.domain.model import Problem, ProjectName, PypimirrorError, Stage
from pypimirror.download.protocol import (
    FetchFile,
    FileResult,
    FromWorker,
    Hello,
    Job,
    Remote,
    Result,
)
from pypimirror.pipeline.discover.links.reading import Reading
from pypimirror.pipeline.discover.lists.learned import Listings
from pypimirror.pipeline.priority_lock import PriorityLock
from pypimirror.pipeline.reporter import Reporter
from pypimirror.pipeline.retry_plan import Retry
from pypimirror.select.selection import Selection
from pypimirror.storage.tree import Tree
from pypimirror.system import clock
from pypimirror.system.space import Room
from pypimirror.system.workers import Cancelled, Workers
from pypimirror.verify import protocol as verify_protocol
from pypimirror.verify.protocol import Check, Checked
from pypimirror.verify.readers import Readers


def remotes(config: Config) -> tuple[Remote, ...]:
    """Return every place that pages and files may come from: upstreams and their alternates."""
    return tuple(
        Remote(
            name,
            url,
            upstream.hosts,
            authorization=authorization,
            proxy=(upstream.proxy.get_secret_value() or config.download.proxy.get_secret_value()),
            ca_file=str(upstream.ca_file or config.download.ca_file or ""),
            keyring=upstream.keyring if url == upstream.url else None,
        )
        for upstream in config.upstream
        for (name, url), authorization in zip(
            places(upstream), authorizations(upstream), strict=True
        )
    )


def authorizations(upstream: UpstreamSection) -> Iterator[str]:
    """Yield how this mirror logs in at an upstream and at each of its alternates."""
    yield upstream.authorization
    for url in upstream.alternates:
        login = login_of(url)
        yield basic(*login) if login else ""


def places(upstream: UpstreamSection) -> Iterator[tuple[str, str]]:
    """Yield name and address of an upstream and of each of its alternates, without logins."""
    yield upstream.name, upstream.url
    yield from further_places(upstream)


def further_places(upstream: UpstreamSection) -> Iterator[tuple[str, str]]:
    """Yield name and address of each alternate of an upstream."""
    for url in upstream.alternates:
        yield without_login(url), without_login(url)


#: Small jobs, or megabytes, that wait for each verification worker: enough that none is idle.
_CHECKS = 32


#: What is counted where a stage has done something of what it had to do.
_DONE = ("files_downloaded", "files_reused", "files_verified", "pages_written")


@dataclass
class Tally:
    """What becomes of the stage of a batch while it is under way."""

    counts: Counter[str] = field(default_factory=Counter)
    total: int = 0  #: of the things that it has to do
    failed: dict[tuple[str, str], Problem] = field(default_factory=dict)  #: by project and file
    #: Why nothing of it could be done.
    hindrance: Problem | None = None

    def failure(self, stage: Stage, *, whole: bool) -> Problem | None:
        """Return why the stage has failed altogether: nothing of what it had to do was done.

        Of the mirror as a `whole`, that is what concerns no project: an upstream's list, the
        deletion guard. What fails of many is no failure of their stage.
        """
        if self.hindrance is not None or whole:
            return self.hindrance or self.failed.get(("", ""))
        about_files = stage in (Stage.DOWNLOAD, Stage.VERIFY)
        failed = [p for (_, file), p in self.failed.items() if bool(file) is about_files]
        nothing_done = not any(self.counts[name] for name in _DONE)
        return failed[0] if nothing_done and 0 < self.total <= len(failed) else None


#: The tally of the stage of a batch that is under way in this thread.
_tally: ContextVar[Tally | None] = ContextVar("tally", default=None)


class StoppedError(PypimirrorError):
    """The run could not work: nothing answered, the disk is full, the guard stepped in."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


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
    now: float = field(default_factory=clock.now)  #: seconds since the epoch
    began: float = field(default_factory=clock.steady)  #: on a clock that nobody sets
    counts: Counter[str] = field(default_factory=Counter)
    #: The projects whose pages are asked for because a list has them, with their serials there.
    listed: dict[str, int | None] = field(default_factory=dict)
    #: What else is known of the lists.
    listings: Listings = field(default_factory=Listings)
    #: Of the upstreams whose lists said plainly that they are unchanged: what was asked, and how.
    unchanged: dict[str, tuple[str, dict[str, str]]] = field(default_factory=dict)
    #: Whether no project had anything left to do.
    idle: bool = False
    #: Whether any upstream has answered in this run.
    answered: bool = False
    #: The stage that ended the run, where one did.
    stage: Stage = Stage.DISCOVER
    #: Whether files may be fetched; else only what is here already is taken over.
    fetches: bool = True
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
    #: How many files on pages were replaced so far, by project; see
    #: `pipeline.discover.decisions.replacing`.
    replaced: dict[str, int] = field(default_factory=dict)
    #: Which of the threads that do batches is at work.
    priority: PriorityLock = field(default_factory=PriorityLock)
    #: Batches that may be under way at once.
    most_at_once: int = 1
    #: Held by the thread that has large pages in hand.
    _large_pages: threading.RLock = field(default_factory=threading.RLock)
    _counting: threading.Lock = field(default_factory=threading.Lock)
    _set_aside: int = 0  # bytes that went to quarantine since it was trimmed
    #: The download workers and the verification workers; their processes start when there is work.
    workers: Workers[Job, Result] = field(init=False)
    checkers: Workers[Check, Checked] = field(init=False)
    #: What hashes files that are here.
    readers: Readers = field(init=False)

    def __post_init__(self) -> None:
        config = self.config
        self.tree.waiting = self.priority.given_up
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
            waiting=self.priority.given_up,
        )
        self.readers = Readers(config.processes, self.priority.given_up)
        self.checkers = Workers(
            module="pypimirror.verify.worker",
            processes=config.processes,
            hello=verify_protocol.Hello(),
            in_flight=_CHECKS,
            in_order=True,
            decoder=msgspec.json.Decoder(verify_protocol.FromWorker),
            on_note=lambda note: self.reporter.note(note.level, note.message),
            waiting=self.priority.given_up,
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
        if (tally := _tally.get()) is not None:
            tally.counts.update(changes)

    def is_time_to_trim(self, set_aside: int, limit: float) -> bool:
        """Note bytes that went to quarantine; whether more than `limit` did since this was so."""
        with self._counting:
            self._set_aside += set_aside
            if self._set_aside <= limit:
                return False
            self._set_aside = 0
            return True

    @contextmanager
    def counting(self) -> Iterator[Tally]:
        """Count apart what a stage of a batch does."""
        tally = Tally()
        token = _tally.set(tally)
        try:
            yield tally
        finally:
            _tally.reset(token)

    def begin(self, stage: Stage, total: int | None, size: int = 0) -> None:
        """Note that a batch enters a stage, with so many things to do, and bytes if known."""
        if (tally := _tally.get()) is not None:
            tally.total += total or 0
        self.reporter.begin(stage, total, size)

    def is_cut_off(self, things: Sized) -> bool:
        """Whether there is no use in asking an upstream for what a stage has to do."""
        if self.unreachable is not None and things:
            self.hindered(self.unreachable)
        return self.unreachable is not None

    def hindered(self, problem: Problem) -> None:
        """Note why nothing of what the stage of a batch has to do can be done."""
        if (tally := _tally.get()) is not None:
            tally.hindrance = problem

    def failed(self, stage: Stage, problems: Iterable[Problem]) -> None:
        """Record and report what failed."""
        found = list(problems)
        self.record(stage, found)
        for problem in found:
            self.reporter.problem(stage, problem)

    def record(self, stage: Stage, problems: Sequence[Problem]) -> None:
        """Record what failed and was reported already."""
        if problems:
            if (tally := _tally.get()) is not None:
                tally.failed |= {(each.project, each.file): each for each in problems}
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

        told: Counter[int] = Counter()  # bytes, by job

        def progress(job: Job, size: int) -> None:
            stage = Stage.DOWNLOAD if isinstance(job, FetchFile) else Stage.DISCOVER
            self.reporter.advance(stage, size=size)
            told[job.id] += size
            on_progress(job, size)

        for result in self.workers.run(jobs, on_progress=progress):
            if isinstance(result, FileResult):
                rest = result.transferred - told.pop(result.id, 0)
                self.reporter.advance(Stage.DOWNLOAD, size=max(0, rest))
            yield result

    @contextmanager
    def large_pages(self) -> Iterator[None]:
        """Wait until no other batch has large pages in hand, and keep others from having any."""
        with self.priority.given_up():  # whoever has some may wait for its turn
            self._large_pages.acquire()
        try:
            yield
        finally:
            self._large_pages.release()

    def check(self, jobs: Iterable[Check]) -> Iterator[Checked]:
        """Let the verification workers do `jobs`; yield the answers as they come."""
        return self.checkers.run(jobs)

    def read(self, jobs: Iterable[Check]) -> Iterator[Checked]:
        """Hash what `jobs` name and do nothing else; yield the answers as they come."""
        return self.readers.run(jobs)

    def cancel(self) -> None:
        """End what is under way, in any thread, with `Cancelled`."""
        self.cancelled = True
        self.catalog.give_up()
        self.workers.cancel()
        self.checkers.cancel()
        self.readers.cancel(Cancelled("The work was cancelled."))

    def close(self) -> None:
        """End the workers."""
        self.workers.close()
        self.checkers.close()
