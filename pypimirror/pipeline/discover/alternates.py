"""What an upstream's alternates are asked for: what the upstream itself failed on.

Pages that cannot be had are asked for at each alternate in turn. So are files, in the download
stage: the alternate's own page of the project says where; nothing is guessed from the upstream's
addresses. Nobody is asked before something fails, since in most runs nothing does.

An alternate may lag behind. So what its page lacks is not taken for gone, that it has no such
project says nothing, and the upstream is asked again in the next run.
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


class Answer(NamedTuple):
    """What was said of one project's page."""

    row: ProjectRecord  #: of the project
    position: int  #: of the upstream that was asked
    result: PageResult
    place: str = ""  #: the alternate that the page came from, where it did


def instead(run: Run, failed: Sequence[Answer]) -> Iterator[Answer]:
    """Ask alternates for pages that their upstream cannot give; what none has stays failed."""
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


def _taken(run: Run, failed: Answer, result: PageResult, place: str) -> Answer:
    assert result.page is not None
    cause = failed.result.problem
    told = cause.message if cause is not None else ""
    run.reporter.note("warning", f"{failed.row.name}: {told} Its page was taken from {place}")
    page = msgspec.structs.replace(result.page, partial=True)
    # Validators of one place mean nothing to another; nor are equal pages the same page.
    digest = f"{result.digest} {place}"
    result = msgspec.structs.replace(
        result, page=page, etag=None, last_modified=None, digest=digest
    )
    return failed._replace(result=result, place=place)


def offers(
    run: Run, waiting: Callable[[], Iterable[ProjectFile]]
) -> Iterator[tuple[str, list[tuple[int, File]]]]:
    """Yield each alternate with what it offers, by id, of the files that wait by then."""
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
    for result in project_pages.ask(run, jobs):
        if result.page is not None:
            offered = {file.filename: file for file in result.page.files}
            for row in rows[result.id]:
                if row.filename in offered:
                    yield row.id, offered[row.filename]
