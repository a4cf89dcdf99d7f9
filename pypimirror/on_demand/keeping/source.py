"""The pools of the keeper: pages and files come from the store, if it has them.

So the stages of the pipeline place files that the desk has fetched, and nothing is fetched twice.
The real pool does the jobs for which the store has nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec
from msgspec.structs import replace

from pypimirror.config.settings import Config
from pypimirror.domain.model import Problem, Reason
from pypimirror.download.protocol import FetchFile, FetchPage, FileResult, Job, PageResult, Result
from pypimirror.on_demand.store import Fetched, Store
from pypimirror.pipeline.context.pools import Fetcher, Pools
from pypimirror.storage.parts import PART
from pypimirror.system import regular
from pypimirror.system.space import Room
from pypimirror.verify.digests import Claims, check
from pypimirror.verify.hashing import hash_file


class StoreFetcher:
    """Does jobs with the desk's files, and leaves other jobs to the pool `behind`.

    The keeper says which files of the catalog these are (`hold`).
    """

    def __init__(self, store: Store, behind: Fetcher) -> None:
        self._store = store
        self._behind = behind
        self._held: dict[int, Fetched] = {}

    def hold(self, files: dict[int, Fetched]) -> None:
        """Use these files for the jobs to come, and no others. They come by id in the catalog."""
        self._held = files

    def has(self, number: int) -> bool:
        """Whether the store has the bytes of this file of the catalog."""
        held = self._held.get(number)
        return held is not None and bool(held.path)

    def run(
        self, jobs: Iterable[Job], *, on_progress: Callable[[Job, int], None] | None = None
    ) -> Iterator[Result]:
        """Do jobs; see `Fetcher.run`."""
        answers: list[Result] = []

        def left() -> Iterator[Job]:
            for job in jobs:
                answer = self._answer(job)
                if answer is None:
                    yield job
                else:
                    answers.append(answer)

        for result in self._behind.run(left(), on_progress=on_progress):
            yield result
            while answers:
                yield answers.pop()
        while answers:
            yield answers.pop()

    def cancel(self) -> None:
        """Cancel the jobs of the pool behind."""
        self._behind.cancel()

    def close(self) -> None:
        """Close nothing: the desk uses the pool behind, too."""

    def _answer(self, job: Job) -> Result | None:
        match job:
            case FetchPage():
                return self._page(job)
            case FetchFile():
                return self._file(job)
        return None

    def _page(self, job: FetchPage) -> PageResult | None:
        listing = self._store.listing(job.project)
        if listing is None or job.remote != (listing.place or listing.upstream):
            if listing is None or not listing.place or job.remote != listing.upstream:
                return None
            # The upstream failed, and its alternate answered: ask that one next.
            told = f"{job.url}: did not answer the desk"
            return job.failed(Problem(Reason.CONNECTION, told, job.project, url=job.url))
        result = listing.result(job.id)
        if job.max_size is not None and self._store.listing_size(job.project) > job.max_size:
            return PageResult(job.id, large=True)
        is_same = job.etag is not None and job.etag == listing.etag
        return PageResult(job.id, not_modified=True, serial=listing.serial) if is_same else result

    def _file(self, job: FetchFile) -> FileResult | None:
        held = self._held.pop(job.id, None)  # a second try must be another download
        if held is None or not held.path or not job.path.endswith(f"/{job.id}{PART}"):
            return None
        try:
            result = held.result or _read(held, job)
            if result.problem is None and check(_claims(job), result.size, result.digests):
                return None
            _share(held.path, job.path)
            metadata = held.metadata_path and job.metadata_path
            if metadata:
                _share(held.metadata_path, job.metadata_path)
        except FileNotFoundError:
            return None
        except OSError as error:
            told = f"{job.path}: {error.strerror or error}"
            return job.failed(Problem(Reason.DISK, told))
        sha256 = result.metadata_sha256 if metadata else ""
        return msgspec.structs.replace(result, id=job.id, metadata_sha256=sha256)


class StoreRoom(Room):
    """The room of the keeper. Files that come from the store are on this disk already."""

    def __init__(self, config: Config, source: StoreFetcher) -> None:
        super().__init__(config.directory, int(config.mirror.reserve))
        self._source = source

    def claim(self, sizes: Mapping[int, int]) -> tuple[set[int], Problem | None]:
        """Claim space for files, of which those in the store need none. See `Room.claim`."""
        lacking = {number: size for number, size in sizes.items() if not self._source.has(number)}
        taken, problem = super().claim(lacking)
        return taken | (sizes.keys() - lacking.keys()), problem

    def shortage(self, needed: int = 0) -> Problem | None:
        """Return None if no file is expected that the store lacks; see also `Room.shortage`."""
        return super().shortage(needed) if needed or self._due else None


def store_pools(pools: Pools, store: Store) -> tuple[Pools, StoreFetcher]:
    """Return pools that fetch from the store, and their fetcher."""
    fetcher = StoreFetcher(store, pools.fetcher)
    return replace(pools, fetcher=fetcher), fetcher


def _claims(job: FetchFile) -> Claims:
    return Claims(job.digests, job.size)


def _read(held: Fetched, job: FetchFile) -> FileResult:
    """Return the result for bytes that an earlier fetcher left. Nothing is known about them."""
    size, digests, _ = hash_file(held.path, job.digests)
    return FileResult(job.id, size, digests=digests, url=job.urls[0])


def _share(source: str, target: str) -> None:
    """Give a file a second name, or copy it if the file system has no hard links."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(target)  # noqa: PTH108
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # the file system has no hard links
        with regular.stream(source) as stream, open(target, "xb") as copy:  # noqa: PTH123
            shutil.copyfileobj(stream, copy)
