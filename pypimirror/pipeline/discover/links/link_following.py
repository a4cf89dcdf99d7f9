"""Discover: follow links one level deep, to linked pages and to downloads without a file name.

The name of such a download is known only from the answer to a request. The download engine decides
which hosts may be asked: a page on a host that `hosts` does not allow is left out with a note. A
page that does not exist offers nothing. After any other failure it is unknown what the page offers,
so no file may be taken as deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, field

from pypimirror.config.sections import UpstreamSection
from pypimirror.domain.model import Download, File, LinkPage, Problem, Reason
from pypimirror.download.protocol import FetchLinks, LinksResult
from pypimirror.pipeline.discover import page_memory
from pypimirror.pipeline.run import Run

T = TypeVar("T")


class Start(Struct, frozen=True):
    """A page whose links are followed."""

    remote: str  #: the place that sent it: an upstream or one of its alternates
    upstream: UpstreamSection
    url: str
    page: LinkPage


class FollowedLinks(Struct):
    """The results of following the links of one page."""

    files: list[File] = field(default_factory=list)  #: one for each link
    refused: list[Problem] = field(default_factory=list)  #: links that cannot be used
    failed: list[Problem] = field(default_factory=list)  #: links that could not be read


def follow(run: Run, starts: Sequence[Start]) -> list[FollowedLinks]:
    """Follow the links of all these pages. Return the results of each page, in order."""
    found = [FollowedLinks() for _ in starts]
    downloads: list[list[Download]] = []
    pages: list[tuple[int, str]] = []
    for number, start in enumerate(starts):
        downloads.append(_allowed_downloads(start))
        allowed = [url for url in start.page.pages if _may_follow(start, url)]
        pages.extend((number, url) for url in _bounded(run, start, allowed, "pages"))
    for (number, url), result in _ask(run, starts, pages, name_only=False):
        if _failed(run, starts[number], result, found[number]):
            continue
        if result.filename:
            found[number].files.append(File(result.filename, url))
        if result.page is not None:
            found[number].files.extend(result.page.files)
            found[number].refused.extend(result.page.problems)
            downloads[number].extend(_allowed_downloads(starts[number], result.page))
    names: dict[tuple[int, str], Download] = {}
    for number, start in enumerate(starts):
        unique = list({download.url: download for download in downloads[number]}.values())
        for download in _bounded(run, start, unique, "downloads"):
            names[number, download.url] = download
    for key, result in _ask(run, starts, list(names), name_only=True):
        number, url = key
        if not _failed(run, starts[number], result, found[number]) and result.filename:
            found[number].files.append(File(result.filename, url, names[key].digests))
    return found


def _allowed_downloads(start: Start, page: LinkPage | None = None) -> list[Download]:
    page = page or start.page
    return [download for download in page.downloads if _may_follow(start, download.url)]


def _may_follow(start: Start, url: str) -> bool:
    """Whether the configuration allows to follow a link. Its host is checked elsewhere."""
    if start.upstream.follow_external:
        return True
    return urlsplit(url).netloc.lower() == urlsplit(start.url).netloc.lower()


def _bounded(run: Run, start: Start, links: Sequence[T], what: str) -> Sequence[T]:
    """Return at most `max_links` links, with a warning if there are more."""
    limit = start.upstream.max_links
    if len(links) > limit:
        run.reporter.note(
            "warning",
            f"{start.upstream.name}: {start.url} links to {len(links)} {what}; only the first "
            f"{limit} are read. For more, raise max_links of the [[upstream]]",
        )
    return links[:limit]


def _ask(
    run: Run,
    starts: Sequence[Start],
    links: Sequence[tuple[int, str]],
    *,
    name_only: bool,
) -> Iterator[tuple[tuple[int, str], LinksResult]]:
    """Fetch each link once. Yield the answers in the order of the links."""
    asked = list(dict.fromkeys((starts[number].remote, url) for number, url in links))
    jobs = (FetchLinks(n, *place, name_only=name_only) for n, place in enumerate(asked))
    answers: dict[tuple[str, str], LinksResult] = {}
    links_left = page_memory.MOST_LINKS
    for result in page_memory.ask(run, jobs, partial(_fetch, run)) if asked else ():
        size = _number_of(result.page) if result.page is not None else 0
        is_held = size <= links_left
        links_left -= size if is_held else 0
        place = asked[result.id]
        answers[place] = result if is_held else _too_many(result, place[1])
    for number, url in links:
        yield (number, url), answers[starts[number].remote, url]


def _fetch(run: Run, jobs: Iterable[FetchLinks]) -> Iterator[LinksResult]:
    for result in run.fetch(jobs):
        assert isinstance(result, LinksResult)
        yield result


def _number_of(page: LinkPage) -> int:
    """Return the number of links and problems on a page."""
    return sum(map(len, (page.files, page.problems, page.pages, page.downloads)))


def _too_many(result: LinksResult, url: str) -> LinksResult:
    """Return the failure of a page whose links would exceed the limit."""
    message = (
        f"{url} was not read: with it, the linked pages would have more than "
        f"{page_memory.MOST_LINKS} links. Lower max_links of the [[upstream]]."
    )
    return LinksResult(result.id, problem=Problem(Reason.TOO_LARGE, message, url=url))


def _failed(run: Run, start: Start, result: LinksResult, found: FollowedLinks) -> bool:
    """Whether a link could not be read. Note the failure in `found`, or in the log if it is
    harmless.
    """
    problem = result.problem
    if problem is None:
        return False
    if problem.reason in (Reason.HOST_NOT_ALLOWED, Reason.MISSING):
        run.reporter.note("info", f"{start.upstream.name}: {start.url}: {problem.message}")
    else:
        message = (
            f"{start.url} has a link that cannot be read: {problem.message} The files that it "
            "offered before stay as they are"
        )
        found.failed.append(msgspec.structs.replace(problem, message=message))
    return True
