"""Limits for the memory that project pages take, in this process and in all workers together.

A page may have `Hello.max_page_size` bytes unpacked. As objects it can take up to twenty times
that, if its entries are tiny. A page of 62 MiB with a million entries took 1.0 GB in the process
that parsed it, 0.8 GB in this one, and 1.1 GB in both at the same time. A run fetches hundreds of
pages at once. So pages are fetched in three rounds, by their measured size:

1. All pages at once, each limited to its share of `_SUM`.
2. The pages that are larger than that: `_FEW` at once, each limited to `_MEDIUM` bytes.
3. The pages that are still larger: one at a time in the whole run, over all its parallel batches.

The pages behind a page of links are merged into one. At most `MOST_LINKS` links are taken from
them; pages beyond this limit count as unreadable.

So at most `_SUM` bytes of pages, and one page of any size, are in memory at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TypeVar

import msgspec

from pypimirror.download.protocol import FetchLinks, FetchPage, LinksResult, PageResult
from pypimirror.pipeline.run import Run

Job = TypeVar("Job", FetchPage, FetchLinks)
R = TypeVar("R", PageResult, LinksResult)

_SUM, _LIGHT = 32 << 20, 4 << 20  #: bytes
_FEW, _MEDIUM = 16, 2 << 20

#: Most links that are held of all pages that are merged into one.
MOST_LINKS = 200_000


def ask(
    run: Run, jobs: Iterable[Job], answers: Callable[[Iterable[Job]], Iterator[R]]
) -> Iterator[R]:
    """Fetch pages in any order, in rounds by size. `answers` fetches jobs of any size.

    Two large pages are never held at once, if the caller drops a page before it asks for the next.
    """
    light = list(jobs)
    share = _SUM // run.most_at_once // max(1, len(light))
    large = yield from _of_size(light, min(share, _LIGHT), answers)
    if not large:
        return
    with run.lanes.large_pages():
        while large:
            some, large = large[:_FEW], large[_FEW:]
            for job in (yield from _of_size(some, _MEDIUM, answers)):
                yield from _of_size([job], None, answers)


def _of_size(
    jobs: Iterable[Job], size: int | None, answers: Callable[[Iterable[Job]], Iterator[R]]
) -> Generator[R, None, list[Job]]:
    """Fetch the pages of at most `size` bytes. Return the jobs whose pages are larger."""
    jobs = [msgspec.structs.replace(job, max_size=size) for job in jobs]
    by_id = {job.id: job for job in jobs}
    large: list[Job] = []
    for result in answers(jobs):
        if result.large:
            large.append(by_id[result.id])
        else:
            yield result
    return large
