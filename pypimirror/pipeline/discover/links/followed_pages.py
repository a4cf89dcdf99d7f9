"""Pages of projects whose links are followed: the files behind the links are added to the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from pypimirror.config.sections import UpstreamSection
from pypimirror.domain.filenames import check_filename
from pypimirror.domain.model import ProjectName, ProjectStatus, Reason
from pypimirror.download.protocol import FetchPage, PageResult
from pypimirror.pipeline.discover.links import link_following, link_index
from pypimirror.pipeline.run import Run
from pypimirror.upstream.collecting import Collector
from pypimirror.upstream.grouping import project_of


def pages(run: Run, jobs: Sequence[tuple[UpstreamSection, FetchPage]]) -> Iterator[PageResult]:
    """Fetch pages, and follow the links of those whose upstream is configured so."""
    asked = {
        job.id: (upstream, msgspec.structs.replace(job, links=True))
        for upstream, job in jobs
        if upstream.follow_external
    }
    leading: list[PageResult] = []
    for result in run.fetch(asked[job.id][1] if job.id in asked else job for _, job in jobs):
        assert isinstance(result, PageResult)
        if _leads_on(result):
            leading.append(result)
        else:
            yield msgspec.structs.replace(result, linked=None) if result.linked else result
    starts = [
        link_following.Start(job.remote, upstream, job.url, result.linked)
        for result in leading
        if result.linked is not None
        for upstream, job in (asked[result.id],)
    ]
    for result, found in zip(leading, link_following.follow(run, starts), strict=True):
        yield _joined(result, found)


def _leads_on(result: PageResult) -> bool:
    """Whether links of a page must be followed."""
    if result.page is None or result.linked is None:
        return False
    if result.page.status is ProjectStatus.QUARANTINED:  # no file of it may be served
        return False
    return bool(result.linked.pages or result.linked.downloads)


def _joined(result: PageResult, found: link_following.FollowedLinks) -> PageResult:
    """Add the files found behind the links of a page to the page.

    The result has no validators: those of the page say nothing about the linked pages.
    """
    assert result.page is not None
    page = result.page
    own = {file.filename for file in page.files}
    refused = {problem.file for problem in page.problems}
    collected = Collector(page.project)
    for problem in page.problems:
        collected.refuse_for(problem)
    for file in page.files:
        collected.add(file)
    for file in found.files:
        if file.filename not in refused and _is_meant(file.filename, page.project, collected):
            collected.add(file)
    for problem in found.refused:
        if project_of(problem.file, [ProjectName(page.project)]) == page.project:
            collected.refuse_for(msgspec.structs.replace(problem, project=page.project))
    for problem in found.failed:
        collected.refuse_for(msgspec.structs.replace(problem, project=page.project))
    files = collected.files
    joined = msgspec.structs.replace(
        page,
        files=files,
        problems=collected.problems,
        external=tuple(file.filename for file in files if file.filename not in own),
        partial=bool(found.failed),
    )
    digest = link_index.page_digest(joined)
    return msgspec.structs.replace(
        result, page=joined, etag=None, last_modified=None, digest=digest
    )


def _is_meant(filename: str, project: str, collected: Collector) -> bool:
    """Whether a linked file belongs to the project. A home page also links to other files."""
    problem = check_filename(filename, project)
    if problem is not None and problem.reason is Reason.UNSAFE_NAME:
        collected.refuse_for(problem)
    return problem is None and project_of(filename, [ProjectName(project)]) == project
