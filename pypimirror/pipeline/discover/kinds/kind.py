"""The interface of an upstream of any kind.

All code after it, from the decisions on, is the same for all kinds. Every implementation passes the
contract tests in `tests/pipeline/discover/kinds/test_contract.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from pypimirror.config.sections import UpstreamSection
from pypimirror.domain.model import ProjectList
from pypimirror.download.protocol import FetchPage, ListResult, PageResult
from pypimirror.pipeline.run import Run

#: The name and the address of a place of an upstream. The name is that of a `Remote`.
Place = tuple[str, str]


class UpstreamKind(Protocol):
    """How to ask upstreams of one kind."""

    #: Whether each project, and the list, has its own address. Then answers have validators.
    has_pages: bool

    def listing(
        self, run: Run, upstream: UpstreamSection, place: Place
    ) -> tuple[ListResult, ProjectList | None]:
        """Fetch the list of projects of a place.

        The list is None if the answer has a problem or says "not modified", or if the upstream has
        no list.
        """

    def page_job(
        self, number: int, place: Place, project: str, candidates: Sequence[str] = ()
    ) -> FetchPage:
        """Return the job that fetches a project's page at a place.

        `candidates` are possible addresses of the page, relative to the place. Empty: the usual
        address.
        """

    def pages(
        self, run: Run, jobs: Sequence[tuple[UpstreamSection, FetchPage]]
    ) -> Iterator[PageResult]:
        """Answer jobs for pages, in any order. The reason is MISSING if a project does not
        exist.
        """


def by_kind(
    jobs: Iterable[FetchPage], upstreams: dict[str, UpstreamSection]
) -> dict[str, list[tuple[UpstreamSection, FetchPage]]]:
    """Group jobs, each with its upstream, by the kind of the upstream."""
    found: dict[str, list[tuple[UpstreamSection, FetchPage]]] = {}
    for job in jobs:
        upstream = upstreams[job.remote]
        found.setdefault(upstream.kind, []).append((upstream, job))
    return found
