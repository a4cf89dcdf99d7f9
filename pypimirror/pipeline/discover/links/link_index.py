"""Discover: upstreams of `kind = "links"`, one page of links for many projects.

The page is read once in a run, with the pages that it links to, and its files are sorted by
project. After that each project has a `ProjectPage` as from any other upstream, so the same rules
on owners, claims and removals apply. A page that cannot be read does not mean that its projects are
deleted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from pypimirror.config.sections import UpstreamSection
from pypimirror.domain.filenames import printable
from pypimirror.domain.model import (
    ListedProject,
    Problem,
    ProjectList,
    ProjectPage,
    Reason,
    Stage,
)
from pypimirror.domain.sizes import number_of
from pypimirror.download.protocol import FetchLinks, FetchPage, LinksResult, ListResult, PageResult
from pypimirror.pipeline.context.reading import Reading
from pypimirror.pipeline.discover.links.link_following import FollowedLinks, Start, follow
from pypimirror.pipeline.run import Run
from pypimirror.upstream.grouping import project_of

_EXAMPLES = 3
_encode = msgspec.json.Encoder(order="deterministic").encode


def read(run: Run, upstream: UpstreamSection, place: tuple[str, str]) -> Reading:
    """Read the page of links of an upstream at a place (name, address), once in a run."""
    name, url = place
    if name not in run.cache.link_pages:
        run.cache.link_pages[name] = _read(run, upstream, name, url)
    return run.cache.link_pages[name]


def listing(
    run: Run, upstream: UpstreamSection, place: tuple[str, str]
) -> tuple[ListResult, ProjectList | None]:
    """Return the projects of the page of links as a project list.

    The list has no serials. Each project shows by the digest of its page whether it has changed,
    which costs no request.
    """
    reading = read(run, upstream, place)
    if reading.problem is not None:
        return ListResult(0, problem=reading.problem), None
    names = sorted({*reading.by_project, *reading.refused})
    return ListResult(0), ProjectList([ListedProject(name) for name in names])


def answer(run: Run, upstream: UpstreamSection, job: FetchPage) -> PageResult:
    """Answer a job for a project's page from the upstream's page of links."""
    reading = read(run, upstream, (job.remote, job.url))
    if reading.problem is not None:
        return job.failed(msgspec.structs.replace(reading.problem, project=job.project))
    page = reading.page(job.project)
    if page is None:
        reason, message = Reason.MISSING, f"{job.url} has no files of {job.project}"
        if reading.partial:  # a linked page that failed may have some
            reason = Reason.BAD_PAGE
            message = f"{job.url}: a page that it links to, which may have the project, failed"
        return job.failed(Problem(reason, message, job.project, url=job.url))
    return PageResult(job.id, page=page, digest=page_digest(page))


def page_digest(page: ProjectPage) -> str:
    """Return a digest of the contents of a page that was merged from several pages."""
    return hashlib.sha256(_encode(page)).hexdigest()


def _read(run: Run, upstream: UpstreamSection, remote: str, url: str) -> Reading:
    """Read a page of links and the pages that it links to."""
    (result,) = run.fetch([FetchLinks(0, remote, url)])
    assert isinstance(result, LinksResult)
    if result.problem is not None:
        problem = result.problem
        if problem.reason is Reason.MISSING:  # the page is missing, not a project
            problem = msgspec.structs.replace(problem, reason=Reason.HTTP_STATUS)
        return Reading(problem)
    if result.page is None:
        return Reading(_no_links(url, "it is not an HTML page"))
    (found,) = follow(run, [Start(remote, upstream, result.url, result.page)])
    reading = Reading(partial=bool(found.failed))
    reading.own = {file.filename for file in result.page.files}
    _sort(run, reading, upstream, result, found)
    if not reading.by_name and not reading.refused:
        if found.failed:
            return Reading(found.failed[0])
        # If a login page or an error page counted as empty, all its projects would be withdrawn.
        return Reading(
            _no_links(url, "no links to files are on it or on the pages that it links to")
        )
    run.ledger.failed(
        Stage.DISCOVER,
        # The record has one line for each file, so each address stands in place of a file.
        (msgspec.structs.replace(problem, file=problem.url) for problem in found.failed),
    )
    return reading


def _no_links(url: str, fault: str) -> Problem:
    message = f"{url}: {fault}; the files that were mirrored from it stay"
    return Problem(Reason.BAD_PAGE, message, url=url)


def _sort(
    run: Run, reading: Reading, upstream: UpstreamSection, result: LinksResult, found: FollowedLinks
) -> None:
    """Assign every link to its project."""
    assert result.page is not None
    named = frozenset(run.selection.named) | frozenset(run.names or ())
    unclear: list[str] = []
    for file in (*result.page.files, *found.files):
        project = project_of(file.filename, named)
        if project is None:
            unclear.append(file.filename)
        else:
            reading.by_project[project].append(file)
            reading.by_name[file.filename].append(file)
    for problem in (*result.page.problems, *found.refused):
        project = project_of(problem.file, named)
        if project is None:
            unclear.append(problem.file or problem.url)
        else:
            reading.refused[project].append(problem)
    if unclear:
        _tell_unclear(run, upstream, unclear)


def _tell_unclear(run: Run, upstream: UpstreamSection, names: Sequence[str]) -> None:
    """Warn about links that are left out because their project is unknown."""
    shown = ", ".join(repr(printable(name, 60)) for name in names[:_EXAMPLES])
    run.reporter.note(
        "warning",
        f"{upstream.name}: {number_of(len(names), 'link')} left out, because the names of the "
        f"files do not show their project: {shown}{', …' if len(names) > _EXAMPLES else ''}",
    )
