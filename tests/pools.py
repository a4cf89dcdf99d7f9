"""Pools of a run for tests: they work in this process, and one of them without any socket.

All of them pass the contract in `tests/pipeline/context/test_pools.py`.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Generic, TypeVar

from pypimirror.config.settings import Config
from pypimirror.domain.model import Problem, ReadError, Reason
from pypimirror.download.engine.fetch import HttpFetcher as Engine
from pypimirror.download.protocol import (
    FetchFile,
    FetchLinks,
    FetchList,
    FetchPage,
    FileResult,
    Job,
    ListResult,
    PageResult,
    Probe,
    Result,
)
from pypimirror.pipeline.context.pools import MakePools, Pools
from pypimirror.pipeline.context.remotes import hello
from pypimirror.pipeline.context.reporter import Reporter
from pypimirror.system.workers import Cancelled
from pypimirror.upstream.read import parse_page
from pypimirror.verify import worker
from pypimirror.verify.digests import Claims, check
from pypimirror.verify.protocol import Check, Checked
from pypimirror.verify.readers import read

J = TypeVar("J")
R = TypeVar("R")

#: The answer of an address: content type and bytes.
Answers = Mapping[str, tuple[str, bytes]]


class InlinePool(Generic[J, R]):
    """Does each job when its result is asked for, one after the other, in order."""

    def __init__(self, do: Callable[[J], R], close: Callable[[], None] = lambda: None) -> None:
        self._do = do
        self.close = close
        self._cancelled = False

    def run(
        self, jobs: Iterable[J], *, on_progress: Callable[[J, int], None] | None = None
    ) -> Iterator[R]:
        """Do `jobs`."""
        for job in jobs:
            if self._cancelled:
                raise Cancelled("The work was cancelled.")
            result = self._do(job)
            if on_progress is not None and isinstance(result, FileResult) and result.transferred:
                on_progress(job, result.transferred)
            yield result

    def cancel(self) -> None:
        """Begin no further job."""
        self._cancelled = True


def inline(
    config: Config, reporter: Reporter, waiting: Callable[[], AbstractContextManager[None]]
) -> Pools:
    """Return pools that do what the real ones do, with sockets, in one process and one thread.

    So the steps of a run always have the same order, and tests can kill hundreds of runs.
    """
    del reporter, waiting
    engine = Engine(hello(config), lambda _: None)
    return Pools(
        InlinePool[Job, Result](engine.do, engine.close),
        InlinePool[Check, Checked](worker.check),
        InlinePool[Check, Checked](read),
    )


def by_thread(
    config: Config, reporter: Reporter, waiting: Callable[[], AbstractContextManager[None]]
) -> Pools:
    """Return pools like `inline`, for runs whose batches are in threads: each has its sockets."""
    del reporter, waiting
    engines = threading.local()

    def do(job: Job) -> Result:
        if not hasattr(engines, "mine"):
            engines.mine = Engine(hello(config), lambda _: None)
        mine: Engine = engines.mine
        return mine.do(job)

    return Pools(
        InlinePool[Job, Result](do),
        InlinePool[Check, Checked](worker.check),
        InlinePool[Check, Checked](read),
    )


def memory(answers: Answers) -> MakePools:
    """Return a maker of pools whose upstreams are `answers`: no socket, no child process."""

    def make(*_: Any) -> Pools:
        return Pools(
            InlinePool[Job, Result](lambda job: fetch(answers, job)),
            InlinePool[Check, Checked](worker.check),
            InlinePool[Check, Checked](read),
        )

    return make


def fetch(answers: Answers, job: Job) -> Result:
    """Do a fetcher's job from memory. Conditional requests get full answers."""
    match job:
        case FetchList():
            return _list(answers, job)
        case FetchPage():
            return _page(answers, job)
        case FetchFile():
            return _file(answers, job)
        case FetchLinks() | Probe():
            return job.failed(Problem(Reason.MISSING, "it is not in memory", url=job.url))


def _list(answers: Answers, job: FetchList) -> ListResult:
    if job.url not in answers:
        return ListResult(job.id, 404, problem=Problem(Reason.HTTP_STATUS, "404", url=job.url))
    content_type, body = answers[job.url]
    Path(job.path).write_bytes(body)
    return ListResult(job.id, content_type=content_type, url=job.url, size=len(body))


def _page(answers: Answers, job: FetchPage) -> PageResult:
    found = next((url for url in (job.url, *job.others) if url in answers), None)
    if found is None:
        return job.failed(Problem(Reason.MISSING, "404", job.project, url=job.url))
    content_type, body = answers[found]
    try:
        page = parse_page(body, content_type=content_type, url=found, project=job.project)
    except ReadError as error:
        return job.failed(error.problem)
    at = "" if found == job.url else found
    return PageResult(job.id, page=page, digest=hashlib.sha256(body).hexdigest(), at=at)


def _file(answers: Answers, job: FetchFile) -> FileResult:
    url = next((url for url in job.urls if url in answers), None)
    if url is None:
        return job.failed(Problem(Reason.MISSING, "404", url=job.urls[0]))
    _, body = answers[url]
    Path(job.path).write_bytes(body)
    digests = {name: hashlib.new(name, body).hexdigest() for name in {*job.digests, "sha256"}}
    problem = check(Claims(job.digests, job.size), len(body), digests)
    return FileResult(job.id, len(body), len(body), digests, url, problem=problem)
