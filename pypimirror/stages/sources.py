"""Discover, the part on other sources: what they claim of the files of a page.

A digest that any source gives for a file name checks the copies from every other source. Other
upstreams are asked whenever there are any; an upstream's alternates only for projects of which
some file has no strong digest, since they are other addresses of the same index.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urljoin

from pypimirror.config import UpstreamSection
from pypimirror.download.protocol import FetchPage, PageResult
from pypimirror.model import Claim, Problem, ProjectPage, Reason
from pypimirror.stages.run import Run, places
from pypimirror.verify.proof import needs_structure


@dataclass
class Pool:
    """What other sources say of projects, by id."""

    claims: dict[int, dict[str, list[Claim]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    #: Projects of which a source that was needed could not be asked, with the reason.
    failed: dict[int, Problem] = field(default_factory=dict)


def page_job(number: int, place: tuple[str, str], project: str) -> FetchPage:
    """Return the job that asks for a project's page at a place, whatever is known of it."""
    name, url = place
    return FetchPage(id=number, remote=name, url=urljoin(url, f"{project}/"), project=project)


def pool(run: Run, read: Mapping[int, tuple[int, ProjectPage]]) -> Pool:
    """Ask other sources about pages, given by project id with the position of their upstream."""
    found = Pool()
    asked: list[tuple[int, tuple[str, str], ProjectPage]] = []
    for project_id, (position, page) in read.items():
        for place in _others(run.config.upstream, position, page):
            asked.append((project_id, place, page))
    jobs = (page_job(n, place, page.project) for n, (_, place, page) in enumerate(asked))
    for result in run.fetch(jobs):
        assert isinstance(result, PageResult)
        project_id, (source, _), page = asked[result.id]
        if result.page is not None:
            for file in result.page.files:
                if file.digests:
                    found.claims[project_id][file.filename].append(Claim(source, file.digests))
        elif result.problem is not None and result.problem.reason is not Reason.MISSING:
            found.failed[project_id] = result.problem
    return found


def _others(
    upstreams: Sequence[UpstreamSection], position: int, page: ProjectPage
) -> Iterator[tuple[str, str]]:
    for number, upstream in enumerate(upstreams):
        # Upstreams before the owner were asked already and do not have the project.
        if number > position:
            yield upstream.name, upstream.url
    if any(needs_structure(file.digests) for file in page.files):
        yield from list(places(upstreams[position]))[1:]
