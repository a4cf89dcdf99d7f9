"""Which files of a page may be fetched, and the page that lists them.

The decisions are those of a sync: the policy is a selection, claims of all sources are merged, and
a file name whose digest has changed is refused (promise 9). A page lists files that may be fetched,
with the claims about them, and held files, with their proven digests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pypimirror.catalog.queries import files, projects
from pypimirror.catalog.records import FileRecord, ProjectRecord
from pypimirror.domain.layout import file_path
from pypimirror.domain.model import Claim, File, ProjectName, ProjectPage, ProjectStatus, details_of
from pypimirror.download.protocol import Remote
from pypimirror.on_demand.listing import Listing, Offer
from pypimirror.pipeline.discover import cross_checks, metadata, project_pages
from pypimirror.pipeline.discover.alternates import PageAnswer
from pypimirror.pipeline.discover.decisions.comparing import believed, contradiction
from pypimirror.pipeline.discover.decisions.decide import UpstreamLink, no_link
from pypimirror.pipeline.discover.decisions.merging import (
    ConflictError,
    Terms,
    further_links,
    merge,
)
from pypimirror.pipeline.discover.discover import terms_of
from pypimirror.pipeline.discover.links import upstream_links
from pypimirror.pipeline.publish import contents
from pypimirror.pipeline.run import Run
from pypimirror.render import rendering
from pypimirror.render.pages import Elsewhere, Page, PageFile
from pypimirror.select.facts import Verdict

#: The forms of a page, and the names of their files.
NAMES = {"html": "index.html", "json": "index.v1_json"}
_RENDER = {"html": rendering.page_html, "json": rendering.page_json}


class Known(NamedTuple):
    """The facts in the catalog about a project."""

    row: ProjectRecord  #: with the id 0 if the catalog does not have it
    files: dict[str, FileRecord]  #: all, by name
    listed: frozenset[str]  #: the names of those that are on its page


def known(run: Run, project: str) -> Known:
    """Return the facts in the catalog about a project."""
    with run.catalog.read() as connection:
        for row in projects.by_name(connection, [project]):
            found = {each.filename: each for each in files.of_projects(connection, [row.id])}
            listed = files.listed(connection, [row.id])
            return Known(row, found, frozenset(each.filename for each in listed))
    nothing = dict.fromkeys(ProjectRecord.__struct_fields__)
    return Known(ProjectRecord(**nothing | {"id": 0, "name": project}), {}, frozenset())  # type: ignore[arg-type]


def judge(run: Run, answer: PageAnswer, about: Known, checked_at: float) -> Listing:
    """Decide on a page that was read, and return its listing."""
    row, position, result, place = answer
    assert result.page is not None
    upstream = run.config.upstream[position]
    page, _ = believed(result.page, about.files)
    read = {row.id: (position, page)}
    by_rule = metadata.of_answers(run, [answer], read).get(row.id)
    claims = cross_checks.ask(run, read).claims[row.id]
    terms = terms_of(run, upstream, place)
    name = ProjectName(page.project)
    facts = by_rule.files if by_rule is not None else {}
    verdicts = run.selection.explain(name, page.files, run.now, facts)
    selected = [verdict.selected for verdict in verdicts]
    links = upstream_links.links(run, upstream, place, page, selected, about.files)
    remote = upstream_links.remote_of(upstream, place or upstream.name)
    refused: dict[str, str] = {}
    linked: dict[str, str | None] = {}
    merged: dict[str, Offer] = {}
    for file, verdict in zip(page.files, verdicts, strict=True):
        others = claims.get(file.filename, ())
        link = links.get(file.filename)
        old = about.files.get(file.filename)
        if why := _refusal(page, file, verdict, others, old, terms, link, remote):
            refused[file.filename] = f"{file.filename}: {why}"
        elif link is not None and link.lasts:
            linked[file.filename] = file.provenance if link.provenance else None
        elif others:
            merged[file.filename] = _offer(run, file, others, terms, place or upstream.name)
    for problem in page.problems:
        refused.setdefault(problem.file, problem.message)
    undecided = by_rule.undecided if by_rule is not None else ()
    refused |= dict.fromkeys(undecided, "its core metadata, which a rule needs, could not be read")
    until = min((v.until for v in verdicts if v.until is not None), default=None)
    return Listing(
        upstream.name,
        place,
        run.selection.digest,
        result.page,
        checked_at,
        until=until,
        etag=result.etag,
        last_modified=result.last_modified,
        serial=result.serial,
        digest=result.digest,
        at=result.at,
        refused=refused,
        linked=linked,
        merged=merged,
    )


def _refusal(
    page: ProjectPage,
    file: File,
    verdict: Verdict,
    others: Sequence[Claim],
    old: FileRecord | None,
    terms: Terms,
    link: UpstreamLink | None,
    remote: Remote,
) -> str | None:
    """Return why a file may neither be fetched nor linked to, as a clause; None if it may."""
    if page.status is ProjectStatus.QUARANTINED:
        return "the upstream has quarantined its project"
    if not verdict.selected:
        return f"{verdict.rule}: {verdict.fact}" if verdict.fact else verdict.rule
    if against := _contradicted(file, others, old, terms):
        return against
    fault = None
    if link is not None and link.lasts:
        digests, _ = merge(file, others, terms)
        fault = no_link(link, digests, None)
    elif not others:
        fault = upstream_links.host_fault(remote, file.url)
    return fault[1] if fault is not None else None


def _contradicted(
    file: File, others: Sequence[Claim], old: FileRecord | None, terms: Terms
) -> str | None:
    """Return why the claims about a file keep it from being fetched, or None."""
    try:
        digests, _ = merge(file, others, terms)
    except ConflictError as conflict:
        return str(conflict)
    if old is None or (old.proof is None and not old.linked) or terms.replaces(old):
        return None
    return contradiction(digests, old, file.size)


def _offer(run: Run, file: File, others: Sequence[Claim], terms: Terms, owner: str) -> Offer:
    digests, _ = merge(file, others, terms)
    links = [(owner, file.url), *further_links(file, others, terms.owner)]
    places = project_pages.by_place(run.config)
    return Offer(digests, tuple(dict.fromkeys(link for link in links if link[0] in places)))


def page_of(run: Run, listing: Listing, about: Known) -> dict[str, bytes]:
    """Return the page of a listing in each form, by the name of its file."""
    page = listing.page
    directory = file_path(page.project, "", None)
    entries = {
        name: contents.page_file(run, page.project, about.files[name]) for name in about.listed
    }
    allowed = []
    for file in page.files:
        is_allowed = file.filename not in listing.refused
        allowed.append(is_allowed or file.filename in about.listed)
        if is_allowed and file.filename not in about.listed:
            entries[file.filename] = _expected(listing, file, directory)
    rendered = Page(
        project=page.project,
        api_version=page.api_version,
        serial=page.serial if page.serial is not None else listing.serial,
        status=page.status,
        status_reason=page.status_reason,
        versions=_versions(page, allowed),
        files=tuple(entries[name] for name in sorted(entries)),
        extra=page.extra,
    )
    forms = [form for form in NAMES if form in run.config.publish.formats]
    return {NAMES[form]: _RENDER[form](rendered) for form in forms}


def _versions(page: ProjectPage, allowed: Sequence[bool]) -> tuple[str, ...] | None:
    found = project_pages.versions(page, allowed)
    return None if found is None else tuple(found)


def _expected(listing: Listing, file: File, directory: str) -> PageFile:
    """Return the entry of a file that is not here yet, or stays at the upstream."""
    claimed: Mapping[str, str] = file.core_metadata or {}
    elsewhere = None
    merged = listing.merged.get(file.filename)
    if file.filename in listing.linked:
        elsewhere = Elsewhere(file.url, listing.linked[file.filename])
    return PageFile(
        filename=file.filename,
        path=directory + file.filename,
        digests=file.digests if merged is None else merged.digests,
        size=file.size,
        core_metadata=claimed.get("sha256"),
        provenance=elsewhere is not None and elsewhere.provenance is not None,
        elsewhere=elsewhere,
        expected=elsewhere is None,
        extra=file.extra,
        **details_of(file),
    )
