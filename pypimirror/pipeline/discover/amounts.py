"""What is held of pages at once, in this process and in the workers, is bounded in its sum.

A page may have `Hello.max_page_size` bytes, unpacked, and up to twenty times that as objects, where
its entries are tiny: one of 62 MiB with a million took at most 1.0 GB in the process that parses
it, 0.8 GB in this one, and 1.1 GB in both at once. And hundreds are asked for at once. So pages
are asked for by their size, which nobody needs to believe:

1. All at once, each of no more than its share of `_SUM`.
2. Those that have more, `_FEW` at once, of no more than `_MEDIUM` bytes each.
3. Those that have still more, one at a time, in a run and whatever batches it does side by side.

Where several pages are put together to one, as those that a page of links leads to, no more than
`MOST_LINKS` links are taken from them; what is beyond that counts as what cannot be read.

So at most `_SUM` bytes of pages, and one page of any size, are out at once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TypeVar

import msgspec

from pypimirror.download.protocol import FetchLinks, FetchPage, LinksResult, PageResult
from pypimirror.pipeline.run import Run

Job = TypeVar("Job", FetchPage, FetchLinks)
Result = TypeVar("Result", PageResult, LinksResult)

_SUM, _LIGHT = 32 << 20, 4 << 20  #: bytes
_FEW, _MEDIUM = 16, 2 << 20

#: Links that are held of all pages which are put together at once.
MOST_LINKS = 200_000


def ask(
    run: Run, jobs: Iterable[Job], answers: Callable[[Iterable[Job]], Iterator[Result]]
) -> Iterator[Result]:
    """Answer jobs for pages, in any order; `answers` does it whatever the pages' sizes are.

    No two large pages are held at once, if the caller does not hold one while it asks for the next.
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
    jobs: Iterable[Job], size: int | None, answers: Callable[[Iterable[Job]], Iterator[Result]]
) -> Generator[Result, None, list[Job]]:
    """Answer jobs for pages of no more than `size` bytes; return those whose pages have more."""
    jobs = [msgspec.structs.replace(job, max_size=size) for job in jobs]
    by_id = {job.id: job for job in jobs}
    large: list[Job] = []
    for result in answers(jobs):
        if result.large:
            large.append(by_id[result.id])
        else:
            yield result
    return large
