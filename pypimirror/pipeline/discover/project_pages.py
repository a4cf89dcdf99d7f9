"""Discover, the part on project pages: asking for them, whatever kind their upstream is of.

A simple index has one of each project; where its configuration says to look beyond it
(`follow_external`), what its links lead to is joined to it here. A page of links has one of each
project that it has files of. What comes out is a `PageResult` in any case.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any
from urllib.parse import urljoin, urlsplit

import msgspec
from packaging.version import Version

from pypimirror.config.sections import UpstreamSection
from pypimirror.config.settings import Config
from pypimirror.domain.filenames import check_filename, version_of, version_text
from pypimirror.domain.layout import hashed_location
from pypimirror.domain.model import File, ProjectName, ProjectPage, ProjectStatus, Reason
from pypimirror.download.protocol import FetchPage, PageResult
from pypimirror.pipeline.context.remotes import places
from pypimirror.pipeline.discover import amounts
from pypimirror.pipeline.discover.links import link_following, link_index
from pypimirror.pipeline.run import Run
from pypimirror.upstream.checks import Collector
from pypimirror.upstream.grouping import project_of


def by_place(config: Config) -> dict[str, UpstreamSection]:
    """Return the upstream that each place belongs to, by the place's name."""
    return {name: upstream for upstream in config.upstream for name, _ in places(upstream)}


def page_job(
    number: int,
    upstream: UpstreamSection,
    place: tuple[str, str],
    project: str,
    candidates: Sequence[str] = (),
) -> FetchPage:
    """Return the job that asks for a project's page at one of an upstream's places.

    `candidates` says where the page may be, relative to the place, if not where one looks.
    """
    name, url = place
    if upstream.kind == "links":
        return FetchPage(id=number, remote=name, url=url, project=project)
    first, *others = [urljoin(url, candidate) for candidate in candidates or (f"{project}/",)]
    return FetchPage(id=number, remote=name, url=first, project=project, others=tuple(others))


def ask(run: Run, jobs: Iterable[FetchPage]) -> Iterator[PageResult]:
    """Answer jobs for project pages, in any order; see `amounts.ask` on large ones."""
    return amounts.ask(run, jobs, partial(_ask, run))


def _ask(run: Run, jobs: Iterable[FetchPage]) -> Iterator[PageResult]:
    upstreams = by_place(run.config)
    waiting: list[FetchPage] = []  # for what the page of links says
    asked: dict[int, FetchPage] = {}  # of which the links are followed

    def fetched() -> Iterator[FetchPage]:
        for job in jobs:
            upstream = upstreams[job.remote]
            if upstream.kind == "links":
                waiting.append(job)
            elif upstream.follow_external:
                asked[job.id] = msgspec.structs.replace(job, links=True)
                yield asked[job.id]
            else:
                yield job

    leading: list[PageResult] = []
    for result in run.fetch(fetched()):
        assert isinstance(result, PageResult)
        if _leads_on(result):
            leading.append(result)
        else:
            yield msgspec.structs.replace(result, linked=None) if result.linked else result
    starts = [
        link_following.Start(job.remote, upstreams[job.remote], job.url, result.linked)
        for result in leading
        if (job := asked[result.id]) and result.linked is not None
    ]
    for result, found in zip(leading, link_following.follow(run, starts), strict=True):
        yield _joined(result, found)
    for job in waiting:
        yield link_index.answer(run, upstreams[job.remote], job)


def _leads_on(result: PageResult) -> bool:
    if result.page is None or result.linked is None:
        return False
    if result.page.status is ProjectStatus.QUARANTINED:  # withheld, wherever its files are
        return False
    return bool(result.linked.pages or result.linked.downloads)


def _joined(result: PageResult, found: link_following.Found) -> PageResult:
    """Join what links led to to the page that has them.

    The result has no validator, since they say nothing of the pages behind it.
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
    """Whether a linked file is one of the project's; a home page has others as well."""
    problem = check_filename(filename, project)
    if problem is not None and problem.reason is Reason.UNSAFE_NAME:
        collected.refuse_for(problem)
    return problem is None and project_of(filename, [ProjectName(project)]) == project


def locations(page: ProjectPage) -> dict[str, str]:
    """Return the upstream's own directories of files, where no other project can have the same.

    A name such as "foo-bar-1.zip" may stand on the pages of foo and of foo-bar, and the directory
    is the upstream's choice: so it counts only for the one project that the name is read as.
    """
    found = {}
    for file in page.files:
        location = hashed_location(urlsplit(file.url).path)
        if location and project_of(file.filename) == page.project:
            found[file.filename] = location
    return found


def limited(page: ProjectPage, selected: Sequence[bool], limit: int) -> list[bool]:
    """Return `selected`, which goes with the page's files, with `limit` external files at most.

    Those of the newest versions stay; 0 means all.
    """
    external = set(page.external)
    chosen = [f for f, is_in in zip(page.files, selected, strict=True) if is_in]
    rivals = [file for file in chosen if file.filename in external]
    if not limit or len(rivals) <= limit:
        return list(selected)
    ranked = sorted(rivals, key=lambda file: _age(page.project, file), reverse=True)
    dropped = {file.filename for file in ranked[limit:]}
    return [
        is_in and file.filename not in dropped
        for file, is_in in zip(page.files, selected, strict=True)
    ]


def versions(page: ProjectPage, selected: Sequence[bool]) -> list[str] | None:
    """Return the versions that our page lists: the upstream's, less those that are deselected.

    An upstream's HTML page names none, so they are read off the file names.
    """
    if page.api_version < (1, 1):
        return None
    if page.versions is not None and all(selected):
        return list(page.versions)
    chosen = {True: set[str](), False: set[str]()}
    for file, is_selected in zip(page.files, selected, strict=True):
        version = version_text(file.filename, page.project)
        if version is not None:
            chosen[is_selected].add(version)
    if page.versions is None:
        return sorted(chosen[True])
    dropped = chosen[False] - chosen[True]
    return [version for version in page.versions if version not in dropped]


def _age(project: str, file: File) -> tuple[bool, Any, str]:
    version = version_of(file.filename, project)
    return version is not None, version or Version("0"), file.filename
