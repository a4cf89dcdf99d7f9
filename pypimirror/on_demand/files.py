"""The desk's files: fetch a file that a client asked for, and serve it once it is verified.

Only a strong digest proves a file here. A file without one is answered when the keeper has
proven it by other means. Every answer has the id 0; the desk sets that of the question.
"""

from __future__ import annotations

import itertools
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Event, Thread
from urllib.parse import urlsplit

import msgspec

from pypimirror.catalog.database import Connection
from pypimirror.catalog.queries.work import asked
from pypimirror.domain.errors import PypimirrorError
from pypimirror.domain.layout import METADATA_SUFFIX, file_path
from pypimirror.domain.model import Problem, Reason
from pypimirror.download.protocol import FetchFile, FileResult, Job
from pypimirror.on_demand import following
from pypimirror.on_demand.grouped import Grouped
from pypimirror.on_demand.listing import FileToFetch, Listing
from pypimirror.on_demand.messages import Absent, Away, Coming, Failed, Final, Here, Refused
from pypimirror.on_demand.once import Once
from pypimirror.on_demand.opening import lose_dead
from pypimirror.on_demand.pages import ABSENCE, DeskPages
from pypimirror.on_demand.store import Fetched, Store, has_digests
from pypimirror.pipeline.context.remotes import further_places
from pypimirror.pipeline.discover import project_pages
from pypimirror.pipeline.run import Run
from pypimirror.system import clock, regular
from pypimirror.verify import proof

#: Seconds between two checks whether another fetcher is done: first and longest pause.
_FIRST_PAUSE, _PAUSE = 0.05, 0.1
#: Number of checks before this fetcher tries to claim the file: the other one may be dead.
_LOOKS = 20

#: Seconds after which a client must hear something of a file that another fetcher receives, and
#: bytes of its beginning that are fetched for that.
_SILENT, _HEAD = 8.0, 2048

#: Bytes of the largest core metadata.
_MAX_METADATA = 4 << 20

#: Reasons for which the bytes are there, for quarantine.
_BAD = frozenset({Reason.DIGEST_MISMATCH, Reason.SIZE_MISMATCH})
#: Reasons that prove bytes to be wrong.
_PROVEN_BAD = _BAD | {Reason.BAD_ARCHIVE, Reason.WRONG_PROJECT}
_OF_POLICY = frozenset({Reason.TOO_LARGE, Reason.HOST_NOT_ALLOWED, Reason.DENIED})
#: Failures that would be the same at another place.
_HOPELESS = frozenset({Reason.DISK, Reason.WORKER, Reason.CANCELLED})

Tell = Callable[[Coming], None]

log = logging.getLogger(__name__)


class DeskFiles:
    """The files that may be asked for. Safe to use from several threads.

    The selection of `run` is the policy. `worker` has the id of this fetcher in the catalog. `keep`
    passes a file to the keeper. `placed` does the same, waits until the file is placed, and returns
    the problem if there is one.
    """

    def __init__(
        self,
        run: Run,
        store: Store,
        pages: DeskPages,
        grouped: Grouped,
        worker: Callable[[], int],
        keep: Callable[[Fetched], None],
        placed: Callable[[Fetched], Problem | None],
    ) -> None:
        self._run = run
        self._store = store
        self._pages = pages
        self._grouped = grouped
        self._worker = worker
        self._keep = keep
        self._placed = placed
        self._numbers = itertools.count(1)
        self._waiting = run.lanes.priority.given_up
        self._accept = run.config.verify.accept
        self._metadata: Once[tuple[str, str], Final] = Once(self._waiting)
        self.asked = 0  #: requests to upstreams, for files and core metadata
        self.received = 0  #: bytes from upstreams

    def file(self, project: str, filename: str, tell: Tell) -> Final:
        """Return the answer to a question for a file. `tell` gets messages about its progress."""
        if filename.endswith(METADATA_SUFFIX):
            return self._metadata.do(
                (project, filename), lambda: self._core_metadata(project, filename)
            )
        found = self._pages.file(project, filename)
        if not isinstance(found, FileToFetch):
            return found
        path = self._store.file(project, filename)
        if found.is_provable(self._accept) and regular.is_here(path):
            return Here(0, path)
        claimed, answered = Event(), Event()
        try:
            here, part = self._claim(found, lambda: self._tell_head(found, tell, claimed, answered))
            claimed.set()
            return here or self._fetch(found, part, tell)
        finally:
            answered.set()

    def _forget(self, pair: asked.Pair, connection: Connection) -> None:
        asked.forget(connection, [pair], self._worker())

    def take_leftovers(self) -> None:
        """Pass files that an earlier fetcher left to the keeper. They count as unproven."""
        for pair in self._store.leftovers():
            if self._grouped.do(partial(self._take_over, pair)):
                self._keep(Fetched(*pair, path=str(self._store.leftover.joinpath(*pair))))

    def _take_over(self, pair: asked.Pair, connection: Connection) -> bool:
        return asked.ask(connection, pair, self._worker(), clock.now())

    def _claim(
        self, found: FileToFetch, tell_head: Callable[[], None]
    ) -> tuple[Here | None, Path | None]:
        """Claim a file for this fetcher. Return where it is if another one has fetched it
        meanwhile, else where a sync is writing it, if one is.
        """
        project, filename = pair = found.pair
        size, pause, waited = found.file.size, _FIRST_PAUSE, False
        silent_until = time.monotonic() + _SILENT

        def ask(connection: Connection) -> tuple[bool, Path | None]:
            if waited:
                lose_dead(connection)
            part = following.part_of(self._run, connection, pair)
            is_mine = asked.ask(connection, pair, self._worker(), clock.now(), size)
            if not is_mine:  # so that the other one places it soon
                asked.used(connection, [pair], clock.now())
            return is_mine, part

        while not (claimed := self._grouped.do(ask))[0]:
            waited = True
            for _ in range(_LOOKS):
                with self._waiting():
                    time.sleep(pause)
                pause = min(2 * pause, _PAUSE)
                if time.monotonic() >= silent_until:
                    silent_until = math.inf
                    tell_head()
                if (here := self._shared(found)) is not None:
                    return here, None
                with self._run.catalog.read() as connection:
                    if asked.fetched_by(connection, pair) is None:
                        break
        # Also without waiting: it may have been placed since the server looked.
        with self._waiting():
            is_held = self._run.storage.has(file_path(project, filename, None))
        if not is_held:
            return None, claimed[1]
        self._grouped.later(lambda connection: asked.done(connection, [pair], self._worker()))
        return Here(0), None

    def _tell_head(self, found: FileToFetch, tell: Tell, claimed: Event, answered: Event) -> None:
        """Fetch the first bytes, which keep clients waiting until the file is `claimed` here."""
        number = next(self._numbers)
        whole = self._job(number, found, *found.offer.links[0])
        job = msgspec.structs.replace(whole, head=_HEAD, metadata_path="")
        self.asked += 1

        def fetch() -> None:  # apart, because the file may be here before it
            priority = self._run.lanes.priority
            try:
                with suppress(PypimirrorError), priority.taken(first=True, once=True):
                    for result in self._run.pools.fetcher.run([job]):
                        if result.problem is None and not (claimed.is_set() or answered.is_set()):
                            self._telling(number, found, tell)
            finally:
                answered.wait()
                self._store.drop_part(number)

        Thread(target=fetch, daemon=True).start()

    def _shared(self, found: FileToFetch) -> Here | None:
        """Return a file that another fetcher of this directory has fetched and not placed yet.

        Its bytes are proven here, too. None without such a file, or without hard links.
        """
        there = self._store.elsewhere(*found.pair)
        if there is None or not found.is_provable(self._accept):
            return None
        number = next(self._numbers)
        job = self._job(number, found, found.listing.upstream, found.file.url)
        with self._waiting():
            result = following.linked(there, job)
        if result is not None:
            return self._put(number, found, result)
        self._store.drop_part(number)
        return None

    def _fetch(self, found: FileToFetch, part: Path | None, tell: Tell) -> Final:
        """Fetch a file that this fetcher has claimed, or follow a sync that writes to `part`."""
        number = next(self._numbers)
        try:
            return self._fetch_as(number, found, part, tell)
        except BaseException:  # otherwise others would wait for it as long as this fetcher lives
            self._grouped.later(partial(self._forget, found.pair))
            self._store.drop_part(number)
            raise

    def _fetch_as(self, number: int, found: FileToFetch, part: Path | None, tell: Tell) -> Final:
        _, short = self._run.room.claim({number: found.file.size or 0})
        try:
            if short is None:
                result = self._received(number, found, part, tell)
            else:
                result = FileResult(number, problem=short)
        finally:
            self._run.room.settle([number])
        if result.problem is None:
            if found.is_provable(self._accept):
                return self._put(number, found, result)
            unproven = Fetched(*found.pair, result, self._store.part(number))
            with self._waiting():
                problem = self._placed(unproven)
            return Here(0) if problem is None else _answer(problem)
        if result.problem.reason in _BAD:
            self._keep(Fetched(*found.pair, result, self._store.part(number)))
        else:
            self._store.drop_part(number)
            self._grouped.do(partial(self._forget, found.pair))
        return _answer(result.problem)

    def _received(
        self, number: int, found: FileToFetch, part: Path | None, tell: Tell
    ) -> FileResult:
        """Follow a sync, or transfer a file."""
        if part is not None and found.is_provable(self._accept):
            coming = self._telling(number, found, tell)
            job = self._job(number, found, found.listing.upstream, found.file.url)
            with self._waiting():
                result = following.follow(part, job, coming)
            if result is not None:
                return result
        result = self._transfer(number, found, tell)
        if result.problem is not None and result.problem.reason not in _HOPELESS:
            result = self._transfer_again(number, found, tell, result)
        return result

    def _telling(self, number: int, found: FileToFetch, tell: Tell) -> Callable[[], None]:
        """Tell that a file is coming. Return a function that tells how much of it is here."""
        part = self._store.part(number)
        coming = Coming(0, part, 0, found.file.size, found.offer.digests)
        tell(coming)

        def progress() -> None:
            with suppress(OSError):
                received = os.stat(part).st_size  # noqa: PTH116
                tell(msgspec.structs.replace(coming, received=received))

        return progress

    def _transfer(self, number: int, found: FileToFetch, tell: Tell) -> FileResult:
        """Try the links of a file in turn, then those of its owner's alternates."""
        coming = self._telling(number, found, tell)

        def progress(_: Job, size: int) -> None:
            self.received += size
            self._run.room.received(number, size)
            coming()

        first: FileResult | None = None
        for remote, url in self._links(found):
            job = self._job(number, found, remote, url)
            self.asked += 1
            for result in self._run.pools.fetcher.run([job], on_progress=progress):
                assert isinstance(result, FileResult)
                if result.problem is None or result.problem.reason in _HOPELESS:
                    return result
                first = first or result
        assert first is not None  # a file has a link
        return first

    def _transfer_again(
        self, number: int, found: FileToFetch, tell: Tell, failed: FileResult
    ) -> FileResult:
        """Try the links of a new page, if the page was old: the file may have moved."""
        listing = self._pages.listing(found.project)
        if not isinstance(listing, Listing) or listing.page == found.listing.page:
            return failed
        again = self._pages.file(*found.pair)
        if not isinstance(again, FileToFetch):
            return failed
        if again.is_provable(self._accept) != found.is_provable(self._accept):
            return failed
        return self._transfer(number, again, tell)

    def _links(self, found: FileToFetch) -> Iterator[tuple[str, str]]:
        """Yield the links of a file. The alternates are asked only if all others have failed."""
        yield from found.offer.links
        run = self._run
        for upstream in run.config.upstream:
            if upstream.name != found.listing.upstream:
                continue
            for place in further_places(upstream):
                job = project_pages.page_job(0, upstream, place, found.project)
                for result in project_pages.ask(run, [job]):
                    for file in result.page.files if result.page is not None else ():
                        link = (place[0], file.url)
                        if file.filename == found.file.filename and link not in found.offer.links:
                            yield link

    def _job(self, number: int, found: FileToFetch, remote: str, url: str) -> FetchFile:
        part = self._store.part(number)
        # As in a sync: without strong digests, nothing is proven before the archive is read.
        early = found.file.filename.endswith(".whl") and found.is_provable(self._accept)
        return FetchFile(
            id=number,
            remote=remote,
            urls=(url,),
            path=part,
            digests=found.offer.digests,
            size=found.file.size,
            metadata_path=f"{part}{METADATA_SUFFIX}" if early else "",
        )

    def _put(self, number: int, found: FileToFetch, result: FileResult) -> Here:
        """Put a verified file into the store and pass it to the keeper."""
        project, filename = found.pair
        part = self._store.part(number)
        metadata = ""
        if result.metadata_sha256:
            claim = (found.file.core_metadata or {}).get("sha256")
            # If it differs from the announced one, the wheel is served without any.
            if claim in (None, result.metadata_sha256):
                name = f"{filename}{METADATA_SUFFIX}"
                metadata = self._store.put(f"{part}{METADATA_SUFFIX}", project, name)
        path = self._store.put(part, project, filename)
        self._store.drop_part(number)
        self._keep(Fetched(project, filename, result, path, metadata))
        return Here(0, path)

    def _core_metadata(self, project: str, filename: str) -> Final:
        """Fetch the core metadata of a file alone. Its digest on the page proves it."""
        here = self._store.file(project, filename)
        if regular.is_here(here):
            return Here(0, here)
        found = self._pages.file(project, filename.removesuffix(METADATA_SUFFIX))
        if not isinstance(found, FileToFetch):
            return found
        digests = found.file.core_metadata
        if not digests or proof.needs_structure(digests):
            told = f"{filename}: the upstream states no digest of it, so it could not be checked."
            return Absent(0, told, ABSENCE)
        left = self._store.left_metadata(project, filename)
        if has_digests(left, digests):
            return Here(0, self._store.put(left, project, filename))
        number = next(self._numbers)
        part = self._store.part(number)
        failed: Problem | None = None
        for remote, url in found.offer.links:
            parts = urlsplit(url)
            url = parts._replace(path=f"{parts.path}{METADATA_SUFFIX}").geturl()
            job = FetchFile(number, remote, (url,), part, digests, max_size=_MAX_METADATA)
            self.asked += 1
            for result in self._run.pools.fetcher.run([job]):
                if result.problem is None:
                    return Here(0, self._store.put(part, project, filename))
                failed = failed or result.problem
        self._store.drop_part(number)
        assert failed is not None  # a file has a link
        return _answer(failed)


def _answer(problem: Problem) -> Final:
    """Return the answer for a file that could not be fetched."""
    if problem.reason in _PROVEN_BAD:
        return Failed(0, problem.message)
    if problem.reason in _OF_POLICY:
        return Refused(0, problem.message)
    if problem.reason in (Reason.DISK, Reason.FOREIGN):
        return of_the_disk(problem.message)
    return Away(0, problem.message)


def of_the_disk(message: str) -> Away:
    """Log an error of the disk, `PATH: CAUSE. REMEDY`; return an answer that shows no path."""
    log.warning("%s", message)
    cause = message.partition(": ")[2].partition(". ")[0].rstrip(".")
    told = f" ({cause})" if cause and "/" not in cause else ""
    return Away(0, f"The disk of the mirror cannot be used now{told}. The server's log says more.")
