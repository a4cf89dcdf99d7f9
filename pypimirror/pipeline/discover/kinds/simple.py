"""The kind `simple`: an index with a list of projects and one page for each project.

With `follow_external`, files behind the links of a page are added to the page here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urljoin

import msgspec

from pypimirror.catalog.queries import projects
from pypimirror.config.sections import UpstreamSection
from pypimirror.domain.addresses import NONE
from pypimirror.domain.filenames import check_filename
from pypimirror.domain.model import ProjectList, ProjectName, ProjectStatus, ReadError, Reason
from pypimirror.download.protocol import FetchList, FetchPage, ListResult, PageResult
from pypimirror.download.unchanged import is_unchanged
from pypimirror.pipeline.context.remotes import remotes
from pypimirror.pipeline.discover.kinds.kind import Place
from pypimirror.pipeline.discover.links import link_following, link_index
from pypimirror.pipeline.discover.lists import trust
from pypimirror.pipeline.run import Run
from pypimirror.system import regular
from pypimirror.upstream.collecting import Collector
from pypimirror.upstream.grouping import project_of
from pypimirror.upstream.listing import parse_list
from pypimirror.upstream.read import page_headers


class SimpleKind:
    """Implements `kind.UpstreamKind`."""

    has_pages = True

    def listing(
        self, run: Run, upstream: UpstreamSection, place: Place
    ) -> tuple[ListResult, ProjectList | None]:
        """Fetch the list, conditionally if it was read before."""
        if not upstream.has_list:
            return ListResult(0), None
        name, url = place
        path = run.workspace.staging / f"list.{upstream.name}"
        known = validators(run, upstream)
        if name != upstream.name:  # validators are valid only for the place that sent them
            known = dict.fromkeys(known)
        job = FetchList(0, name, url, str(path), known["etag"], known["last_modified"])
        headers = page_headers(job.etag, job.last_modified) | {"User-Agent": run.config.user_agent}
        conditional = bool(job.etag or job.last_modified)
        if conditional and _is_unchanged(run, name, headers):
            return ListResult(job.id, not_modified=True), None
        (result,) = run.fetch([job])
        assert isinstance(result, ListResult)
        if result.problem is not None or result.not_modified:
            return result, None
        try:
            found = parse_list(regular.read(str(path)), result.content_type, result.url)
        except ReadError as error:
            return msgspec.structs.replace(result, problem=error.problem), None
        finally:
            run.workspace.unstage(path.name)
        for warning in found.warnings:
            run.reporter.note("warning", f"{name}: {warning}")
        return result, found

    def page_job(
        self, number: int, place: Place, project: str, candidates: Sequence[str] = ()
    ) -> FetchPage:
        """Return the job that fetches a page. It tries the candidate addresses in turn."""
        name, url = place
        if not candidates and url.endswith("/"):  # most pages: joining takes longer than the rest
            return FetchPage(id=number, remote=name, url=f"{url}{project}/", project=project)
        first, *others = [urljoin(url, candidate) for candidate in candidates or (f"{project}/",)]
        return FetchPage(id=number, remote=name, url=first, project=project, others=tuple(others))

    def pages(
        self, run: Run, jobs: Sequence[tuple[UpstreamSection, FetchPage]]
    ) -> Iterator[PageResult]:
        """Fetch pages, and follow their links if the configuration says so."""
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


def validators(run: Run, upstream: UpstreamSection) -> dict[str, str | None]:
    """Return the validators to send with the request for an upstream's list."""
    with run.catalog.read() as connection:
        known = projects.get_list(connection, upstream.name)
    if (
        known is None
        or known.selection != run.selection.digest
        or trust.is_over(known.read_at, run.now, trust.LIST_TRUST, upstream.name)
    ):
        return {"etag": None, "last_modified": None}
    return {"etag": known.etag, "last_modified": known.last_modified}


def _is_unchanged(run: Run, name: str, headers: dict[str, str]) -> bool:
    """Whether a place answers that its list is unchanged. Note it if the next run may ask this way.

    A place with a proxy or a login is left to a download worker.
    """
    remote = next(remote for remote in remotes(run.config) if remote.name == name)
    if remote.authorization or remote.proxy not in ("", NONE):
        return False
    direct = remote.proxy == NONE
    timeout = run.config.download.timeout
    if not is_unchanged(remote.url, headers, timeout, ca_file=remote.ca_file, direct=direct):
        return False
    if not direct and not remote.ca_file:  # the next run's short check supports neither
        run.cache.unchanged[name] = remote.url, headers
    return True


def _leads_on(result: PageResult) -> bool:
    """Whether links of a page must be followed."""
    if result.page is None or result.linked is None:
        return False
    if result.page.status is ProjectStatus.QUARANTINED:  # no file of it may be served
        return False
    return bool(result.linked.pages or result.linked.downloads)


def _joined(result: PageResult, found: link_following.Found) -> PageResult:
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
