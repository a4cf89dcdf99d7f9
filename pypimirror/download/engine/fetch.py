"""Do a job to its end: make attempts, wait between them, and return a result.

At most `Hello.connections` attempts run at once. A job that waits for its next attempt does not
count, so a host that is down or asks for a pause does not slow down other jobs. `concurrency`
bounds the attempts at one host.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import gevent
import msgspec
from gevent.lock import BoundedSemaphore

from pypimirror.domain.model import Problem, ReadError, Reason
from pypimirror.download.engine.host_queue import HostQueue
from pypimirror.download.engine.retry import Cooldowns, backoff_delay
from pypimirror.download.failure import Again, FetchError
from pypimirror.download.http.client import Client
from pypimirror.download.http.hosts import is_local, parse_url
from pypimirror.download.page_answers import fetch_list, fetch_page
from pypimirror.download.protocol import (
    FetchFile,
    FetchLinks,
    FetchList,
    FetchPage,
    FileResult,
    Hello,
    Job,
    LinksResult,
    ListResult,
    Note,
    PageResult,
    Probe,
    Probed,
    Progress,
    Result,
)

if TYPE_CHECKING:
    from pypimirror.download.files.transfer import FileTransfer

PROGRESS_EVERY = 0.5  #: seconds
MAX_COOLDOWNS = 10  #: pauses of its host that a job accepts before it asks anyway
R = TypeVar("R")

#: Reasons that say little: the failure of another URL of the same file is reported instead.
_WEAK = frozenset({Reason.MISSING, Reason.HOST_NOT_ALLOWED})


class HttpFetcher:
    """Does jobs for a `Hello`. `tell` gets `Progress` and `Note`; it must not wait."""

    def __init__(self, hello: Hello, tell: Callable[[Progress | Note], None]) -> None:
        self._hello = hello
        self._tell = tell
        self._client = Client(hello)
        self._places = BoundedSemaphore(hello.connections)
        self._queues: dict[str, HostQueue] = {}
        self._cooldowns = Cooldowns(hello.backoff, hello.max_backoff)

    def do(self, job: Job) -> Result:
        """Do `job`. A failure is in the result."""
        try:
            if isinstance(job, FetchFile):
                return self._file(job)
            if isinstance(job, FetchPage):
                return self._page(job)
            if isinstance(job, FetchLinks):
                return self._links(job)
            if isinstance(job, Probe):
                return self._probe(job)
            return self._list(job)
        except ReadError as error:
            return job.failed(error.problem)
        except Exception as error:  # noqa: BLE001  (a bug must not end other jobs)
            self._tell(Note("error", traceback.format_exc()))
            return job.failed(
                Problem(Reason.INTERNAL, f"A fault of this program: {error!r}. The log has more.")
            )

    def queue(self, host: str) -> HostQueue:
        """Return the queue in which requests to `host` wait for their turn."""
        found = self._queues.get(host)
        if found is None:
            found = self._queues[host] = HostQueue(self._hello.connections, self._hello.modest)
        return found

    def prepare(self) -> None:
        """Do what takes a while and needs no job."""
        self._client.prepare()

    @staticmethod
    def prepare_for_pages() -> None:
        """Import what pages and files need; the list of projects is asked for before that."""
        import pypimirror.download.files.transfer
        import pypimirror.upstream.read  # noqa: F401

    def close(self) -> None:
        """Close all idle connections."""
        self._client.close()

    def _page(self, job: FetchPage) -> PageResult:
        attempts = Attempts(self, (job.url, *job.others))
        try:
            return attempts.run(
                lambda url: fetch_page(self._client, job, url, self._hello.max_page_size)
            )
        except FetchError as error:
            return job.failed(attempts.problem(error, project=job.project))

    def _list(self, job: FetchList) -> ListResult:
        limit = min(self._hello.max_list_size, job.max_size or self._hello.max_list_size)
        attempts = Attempts(self, (job.url,))
        received = self._progress(job.id, attempts)
        try:
            return attempts.run(lambda url: fetch_list(self._client, job, url, limit, received))
        except FetchError as error:
            return ListResult(job.id, error.status, problem=attempts.problem(error))

    def _links(self, job: FetchLinks) -> LinksResult:
        from pypimirror.download.links import fetch_links

        limit = self._hello.max_page_size
        attempts = Attempts(self, (job.url,))
        try:
            return attempts.run(lambda url: fetch_links(self._client, job, url, limit))
        except FetchError as error:
            return job.failed(attempts.problem(error))

    def _probe(self, job: Probe) -> Probed:
        from pypimirror.download.probe import probe

        attempts = Attempts(self, (job.url,))
        try:
            return attempts.run(lambda url: probe(self._client, job, url, self._hello))
        except FetchError as error:
            return job.failed(attempts.problem(error, project=job.project))

    def _file(self, job: FetchFile) -> FileResult:
        from pypimirror.download.files.transfer import FileTransfer

        limit = self._hello.max_file_size
        if job.max_size is not None:
            limit = min(limit, job.max_size)
        attempts = Attempts(self, job.urls)
        if job.head:
            from pypimirror.download.files.head import fetch_head  # rare

            try:
                return attempts.run(lambda url: fetch_head(self._client, job, url))
            except FetchError as error:
                return job.failed(attempts.problem(error))
        received = self._progress(job.id, attempts)
        transfer = FileTransfer(self._client, job, limit, received)
        try:
            result = attempts.run(transfer.attempt)
        except FetchError as error:
            return _given_up(transfer, attempts, error)
        if attempts.count > 1:
            return msgspec.structs.replace(result, attempts=attempts.count)
        return result

    def _progress(self, number: int, attempts: Attempts) -> Callable[[int], None]:
        """Return a function that takes byte counts and reports their sum now and then."""
        pending = 0
        last = time.monotonic()

        def received(count: int) -> None:
            nonlocal pending, last
            pending += count
            attempts.received(count)
            now = time.monotonic()
            if now - last >= PROGRESS_EVERY:
                self._tell(Progress(number, pending))
                pending, last = 0, now

        return received


class Attempts:
    """The attempts at one job: each round tries every URL that may still work, in turn."""

    def __init__(self, fetcher: HttpFetcher, urls: tuple[str, ...]) -> None:
        if not urls:
            raise ValueError("a job without a URL")
        self._fetcher = fetcher
        self._urls = urls
        self._errors: dict[str, FetchError] = {}
        self._queue: HostQueue | None = None  # of the host that is asked
        self.count = 0

    def received(self, count: int) -> None:
        """Count bytes that have come from the host that is asked."""
        if self._queue is not None:
            self._queue.received(count)

    def run(self, attempt: Callable[[str], R]) -> R:
        """Return what `attempt` returns for the first URL that works.

        Raises the most telling `FetchError` if none of them works.
        """
        hello = self._fetcher._hello
        left: dict[str, str] = {}  # each with its host
        for url in self._urls:
            try:
                left[url] = "" if is_local(url) else parse_url(url).origin.host
            except FetchError as error:
                self._errors[url] = error
        doubtful: set[str] = set()  # failed once, and worth one more attempt
        rested: dict[str, float] = {}  # when a URL may be asked again
        for round_number in range(hello.tries):
            if round_number:
                gevent.sleep(backoff_delay(round_number, hello.backoff, hello.max_backoff))
            for url, host in list(left.items()):
                if url in rested:
                    gevent.sleep(max(0.0, rested[url] - time.monotonic()))
                self._queue = queue = self._fetcher.queue(host)
                try:
                    with queue.turn(), self._fetcher._places:
                        return self._try(attempt, url, host, queue)
                except FetchError as error:
                    self._errors[url] = error
                    if error.again is Again.NEVER or (
                        error.again is Again.ONCE and url in doubtful
                    ):
                        del left[url]
                    elif error.retry_after is not None:
                        rested[url] = time.monotonic() + error.retry_after
                    elif error.again is Again.ONCE:
                        doubtful.add(url)
                    if error.reason is Reason.DISK:
                        raise
            if not left:
                break
        raise self._most_telling()

    def ended_with(self, error: FetchError) -> bool:
        """Whether `error` is the last one of its URL."""
        return any(found is error for found in self._errors.values())

    def problem(self, error: FetchError, project: str = "") -> Problem:
        """Return `error` as a `Problem`."""
        url = next((u for u, found in self._errors.items() if found is error), self._urls[0])
        try:
            url = url if is_local(url) else parse_url(url).url  # without a login
        except FetchError:
            url = ""
        return Problem(
            error.reason, error.message, project=project, url=url, attempts=max(1, self.count)
        )

    def _try(self, attempt: Callable[[str], R], url: str, host: str, queue: HostQueue) -> R:
        """Make one attempt, and count it among the open ones unless the host is paused."""
        cooldowns, places = self._fetcher._cooldowns, self._fetcher._places
        # Checked again once there is a place: the host may have asked for a pause meanwhile.
        for _ in range(MAX_COOLDOWNS):
            wait = cooldowns.remaining(host)
            if wait:
                places.release()
                try:
                    gevent.sleep(wait)
                finally:
                    places.acquire()
            else:
                break
        if closed := cooldowns.closed(host):
            raise _for_later(f"{host} wants no requests", closed)
        self.count += 1
        asked = time.monotonic()
        try:
            result = attempt(url)
        except FetchError as error:
            queue.went_wrong(error)
            if error.throttled:
                cooldowns.throttle(host, error.retry_after, asked)
            if error.retry_after is not None and error.retry_after > cooldowns.longest:
                raise _for_later(error.message.rstrip("."), error.retry_after) from error
            raise
        queue.went_well()
        cooldowns.relieve(host)
        return result

    def _most_telling(self) -> FetchError:
        errors = list(self._errors.values())
        strong = [error for error in errors if error.reason not in _WEAK]
        return (strong or errors)[0]


def _for_later(said: str, rest: float) -> FetchError:
    """Return the failure for an answer that asks for a longer pause than a run waits."""
    return FetchError(
        Reason.HTTP_STATUS,
        f"{said} and asks to be left alone for {rest:.0f} s; a later run asks again.",
    )


def _given_up(transfer: FileTransfer, attempts: Attempts, last: FetchError) -> FileResult:
    """Return the result of a file that could not be fetched."""
    error = last
    # Bytes are proven bad only if nothing else went wrong at their URL since.
    if transfer.offending is not None and attempts.ended_with(transfer.offending):
        error = transfer.offending
    else:
        transfer.offending = None
    return msgspec.structs.replace(
        transfer.give_up(), problem=attempts.problem(error), attempts=max(1, attempts.count)
    )
