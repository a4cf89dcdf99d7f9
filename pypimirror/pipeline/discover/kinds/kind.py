"""What an upstream of any kind answers: the interface.

Everything behind it, from the decisions on, is the same for all kinds. Implementations keep the
contract in `tests/pipeline/discover/kinds/test_contract.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from pypimirror.config.sections import UpstreamSection
from pypimirror.domain.model import ProjectList
from pypimirror.download.protocol import FetchPage, ListResult, PageResult
from pypimirror.pipeline.run import Run

#: One of the addresses of an upstream: its name, which is that of a `Remote`, and the address.
Place = tuple[str, str]


class UpstreamKind(Protocol):
    """How upstreams of one kind are asked."""

    #: Whether each project has a page at an address of its own, and the list one, too. Their
    #: answers have validators then.
    has_pages: bool

    def listing(
        self, run: Run, upstream: UpstreamSection, place: Place
    ) -> tuple[ListResult, ProjectList | None]:
        """Ask for the projects at a place.

        There is no list where the answer has a problem, says "not modified", or where the
        upstream has none.
        """

    def page_job(
        self, number: int, place: Place, project: str, candidates: Sequence[str] = ()
    ) -> FetchPage:
        """Return the job that asks for a project's page at a place.

        `candidates` says where the page may be, relative to the place, if not where one looks.
        """

    def pages(
        self, run: Run, jobs: Sequence[tuple[UpstreamSection, FetchPage]]
    ) -> Iterator[PageResult]:
        """Answer jobs for pages, in any order; reason MISSING where there is no such project."""


def by_kind(
    jobs: Iterable[FetchPage], upstreams: dict[str, UpstreamSection]
) -> dict[str, list[tuple[UpstreamSection, FetchPage]]]:
    """Return jobs with their upstreams, by the kind of these."""
    found: dict[str, list[tuple[UpstreamSection, FetchPage]]] = {}
    for job in jobs:
        upstream = upstreams[job.remote]
        found.setdefault(upstream.kind, []).append((upstream, job))
    return found
