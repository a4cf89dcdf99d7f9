"""Fallback to the alternates of an upstream, for pages and files that it could not deliver itself.

If a page fails, each alternate is asked for it in turn. The same holds for files, in the download
stage: the alternate's own project page gives the address; no address is guessed. No alternate is
asked before something fails, because most runs have no failure.

An alternate may lag behind. So files that its page lacks are not taken as deleted, a missing
project on it proves nothing, and the next run asks the upstream again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from pypimirror.catalog.records import ProjectFile, ProjectRecord
from pypimirror.domain.model import File
from pypimirror.download.protocol import FetchPage, PageResult
from pypimirror.pipeline.context.remotes import further_places
from pypimirror.pipeline.discover import project_pages
from pypimirror.pipeline.discover.lists import listings
from pypimirror.pipeline.run import Run


class PageAnswer(NamedTuple):
    """The answer to one request for a project page."""

    row: ProjectRecord  #: of the project
    position: int  #: of the upstream that was asked
    result: PageResult
    place: str = ""  #: the alternate that sent the page; "": the upstream itself


def instead(run: Run, failed: Sequence[PageAnswer]) -> Iterator[PageAnswer]:
    """Ask the alternates for pages that their upstream failed to deliver.

    Yield the page of the first alternate that has it, or the failure if none has it.
    """
    waiting = {answer.row.id: answer for answer in failed}
    for position, upstream in enumerate(run.config.upstream):
        for name, url in further_places(upstream):
            due = [answer.row for answer in waiting.values() if answer.position == position]
            jobs = (
                project_pages.page_job(
                    row.id, upstream, (name, url), row.name, listings.of_row(run, upstream, row)
                )
                for row in due
            )
            for result in project_pages.ask(run, jobs):
                if result.page is not None:
                    yield _taken(run, waiting.pop(result.id), result, name)
    yield from waiting.values()


def _taken(run: Run, failed: PageAnswer, result: PageResult, place: str) -> PageAnswer:
    """Return the answer with the page of an alternate, marked as possibly incomplete."""
    assert result.page is not None
    cause = failed.result.problem
    why = cause.message if cause is not None else ""
    run.reporter.note("warning", f"{failed.row.name}: {why} Its page was taken from {place}")
    page = msgspec.structs.replace(result.page, partial=True)
    # Validators are valid only for the server that sent them. The digest must differ too.
    digest = f"{result.digest} {place}"
    result = msgspec.structs.replace(
        result, page=page, etag=None, last_modified=None, digest=digest
    )
    return failed._replace(result=result, place=place)


def offers(
    run: Run, waiting: Callable[[], Iterable[ProjectFile]]
) -> Iterator[tuple[str, list[tuple[int, File]]]]:
    """Yield each alternate with its offers, by id, of the files that are still `waiting`."""
    for upstream in run.config.upstream:
        for place, url in further_places(upstream):
            rows: dict[str, list[ProjectFile]] = defaultdict(list)
            for row in waiting():
                if row.upstream == upstream.name:
                    rows[row.project].append(row)
            if rows:
                jobs = (
                    project_pages.page_job(n, upstream, (place, url), name)
                    for n, name in enumerate(rows)
                )
                yield place, list(_offered(run, jobs, list(rows.values())))


def _offered(
    run: Run, jobs: Iterable[FetchPage], rows: list[list[ProjectFile]]
) -> Iterator[tuple[int, File]]:
    """Yield the file id and the alternate's offer for each row that its page lists."""
    for result in project_pages.ask(run, jobs):
        if result.page is not None:
            offered = {file.filename: file for file in result.page.files}
            for row in rows[result.id]:
                if row.filename in offered:
                    yield row.id, offered[row.filename]
