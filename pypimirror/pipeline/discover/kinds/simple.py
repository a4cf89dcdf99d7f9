"""The kind `simple`: an index with a list of projects and one page for each project.

With `follow_external`, files behind the links of a page are added to the page here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urljoin

import msgspec

from pypimirror.catalog.queries import listed
from pypimirror.config.sections import UpstreamSection
from pypimirror.domain.model import ProjectList, ReadError
from pypimirror.download import unchanged
from pypimirror.download.protocol import FetchList, FetchPage, ListResult, PageResult
from pypimirror.pipeline.context import remotes
from pypimirror.pipeline.discover.kinds.kind import Place
from pypimirror.pipeline.discover.lists import trust
from pypimirror.pipeline.run import Run
from pypimirror.system import regular


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
        question = remotes.question(run.config, name, job.etag, job.last_modified)
        if question is not None and unchanged.answer(question):
            return ListResult(job.id, not_modified=True), None
        (result,) = run.fetch([job])
        assert isinstance(result, ListResult)
        if result.problem is not None or result.not_modified:
            return result, None
        try:
            from pypimirror.upstream.listing import parse_list  # most lists have not changed

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
        if any(upstream.follow_external for upstream, _ in jobs):
            from pypimirror.pipeline.discover.links import followed_pages  # few upstreams need it

            yield from followed_pages.pages(run, jobs)
            return
        for result in run.fetch(job for _, job in jobs):
            assert isinstance(result, PageResult)
            yield result


def validators(run: Run, upstream: UpstreamSection) -> dict[str, str | None]:
    """Return the validators to send with the request for an upstream's list."""
    with run.catalog.read() as connection:
        known = listed.get_list(connection, upstream.name)
    if (
        known is None
        or known.selection != run.selection.digest
        or trust.is_over(known.read_at, run.now, trust.LIST_TRUST, upstream.name)
    ):
        return {"etag": None, "last_modified": None}
    return {"etag": known.etag, "last_modified": known.last_modified}
