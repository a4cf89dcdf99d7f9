"""The kind `links`: one page with links to files of any number of projects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pypimirror.config.sections import UpstreamSection
from pypimirror.domain.model import ProjectList
from pypimirror.download.protocol import FetchPage, ListResult, PageResult
from pypimirror.pipeline.discover.kinds.kind import Place
from pypimirror.pipeline.run import Run


class LinkPageKind:
    """Implements `kind.UpstreamKind`."""

    has_pages = False

    def listing(
        self, run: Run, upstream: UpstreamSection, place: Place
    ) -> tuple[ListResult, ProjectList | None]:
        """Return the projects that have files on the page."""
        from pypimirror.pipeline.discover.links import link_index  # few upstreams need it

        return link_index.listing(run, upstream, place)

    def page_job(
        self,
        number: int,
        place: Place,
        project: str,
        candidates: Sequence[str] = (),  # noqa: ARG002 - there is only one page
    ) -> FetchPage:
        """Return the job that finds the files of a project on the page."""
        name, url = place
        return FetchPage(id=number, remote=name, url=url, project=project)

    def pages(
        self, run: Run, jobs: Sequence[tuple[UpstreamSection, FetchPage]]
    ) -> Iterator[PageResult]:
        """Answer from the page of links. It is read once in a run."""
        from pypimirror.pipeline.discover.links import link_index

        for upstream, job in jobs:
            yield link_index.answer(run, upstream, job)
