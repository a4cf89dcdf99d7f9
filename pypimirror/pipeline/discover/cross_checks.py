"""Discover: what other sources claim about the files of a page.

A digest from any source checks the copies of a file from every other source. Other upstreams are
always asked. The alternates of an upstream are asked only if some file of the project has no strong
digest, because they are other addresses of the same index.

A source may also add links to a file, but only if the owner states a digest for it. A project never
moves to the next upstream because the first one fails.

A lock of `[select] locks` is a source too. It has no addresses to fetch from. If it brings a new
algorithm for a file that is here, `discover.further_digests` reads the bytes again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from msgspec import Struct, field

from pypimirror.config.sections import UpstreamSection
from pypimirror.domain.model import Claim, File, Problem, ProjectName, ProjectPage, Reason
from pypimirror.download.protocol import FetchPage
from pypimirror.pipeline.context.remotes import further_places
from pypimirror.pipeline.discover import project_pages
from pypimirror.pipeline.discover.kinds.registry import kind_of
from pypimirror.pipeline.discover.links import link_index
from pypimirror.pipeline.run import Run
from pypimirror.verify.proof import needs_structure


class OtherClaims(Struct):
    """The claims of other sources, by project id."""

    claims: dict[int, dict[str, list[Claim]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    #: Projects for which a needed source could not be asked, with the reason.
    failed: dict[int, Problem] = field(default_factory=dict)


class _Place(Struct, frozen=True):
    """One source of claims about a project, and its relation to the owner."""

    upstream: UpstreamSection
    name: str
    url: str
    is_owner: bool  #: another address of the owner itself


def ask(run: Run, read: Mapping[int, tuple[int, ProjectPage]]) -> OtherClaims:
    """Ask other sources about pages. `read` maps a project id to its owner's position and its
    page.
    """
    found = OtherClaims()
    asked: list[tuple[int, _Place, ProjectPage]] = []
    for project_id, (position, page) in read.items():
        _add_locks(run, found, project_id, page)
        for place in _others(run, position, page):
            if not kind_of(place.upstream).has_pages:
                _ask_links(run, found, project_id, place, page)
            else:
                asked.append((project_id, place, page))
    for result in project_pages.ask(run, _jobs(asked)):
        project_id, place, page = asked[result.id]
        if result.page is not None:
            _add(found, project_id, place, page, result.page.files)
        elif result.problem is not None and result.problem.reason is not Reason.MISSING:
            found.failed[project_id] = result.problem
    return found


def _add_locks(run: Run, found: OtherClaims, project_id: int, page: ProjectPage) -> None:
    """Add what locks claim of the files of a page."""
    claims = run.selection.claims(ProjectName(page.project))
    for file in page.files if claims else ():
        if file.filename in claims:
            found.claims[project_id][file.filename].extend(claims[file.filename])


def _jobs(asked: Sequence[tuple[int, _Place, ProjectPage]]) -> Iterator[FetchPage]:
    for number, (_, place, page) in enumerate(asked):
        yield project_pages.page_job(number, place.upstream, (place.name, place.url), page.project)


def _ask_links(
    run: Run, found: OtherClaims, project_id: int, place: _Place, page: ProjectPage
) -> None:
    """Take the claims of a page of links about the file names on a project's page.

    The owner has already said which project a name belongs to, so it is not guessed from the name.
    """
    reading = link_index.read(run, place.upstream, (place.name, place.url))
    if reading.problem is not None:
        problem = reading.problem
        found.failed[project_id] = msgspec.structs.replace(problem, project=page.project)
        return
    offers = (reading.offer(page.project, file.filename) for file in page.files)
    _add(found, project_id, place, page, [file for file in offers if file is not None])


def _add(
    found: OtherClaims, project_id: int, place: _Place, page: ProjectPage, offered: Iterable[File]
) -> None:
    """Add the claims of a source about files that are on the owner's page."""
    vouched = {file.filename: bool(file.digests) for file in page.files}
    for file in offered:
        if file.filename not in vouched:
            continue  # the owner does not offer it
        # Another upstream may deliver the bytes only if the owner states a digest. Otherwise
        # anybody who uploads the same name there could replace the file.
        usable = place.is_owner or place.upstream.authoritative or vouched[file.filename]
        urls = (file.url, *file.other_urls) if usable else ()
        if file.digests or urls:
            claim = Claim(place.name, file.digests, urls)
            found.claims[project_id][file.filename].append(claim)


def _others(run: Run, position: int, page: ProjectPage) -> Iterator[_Place]:
    """Yield the other sources to ask about a page whose upstream is at `position`."""
    upstreams = run.config.upstream
    for number in run.selection.owners(ProjectName(page.project)):
        # Upstreams before the owner were asked before and do not have the project.
        if number > position:
            upstream = upstreams[number]
            yield _Place(upstream, upstream.name, upstream.url, is_owner=False)
    if any(needs_structure(file.digests) for file in page.files):
        for name, url in further_places(upstreams[position]):
            yield _Place(upstreams[position], name, url, is_owner=True)
