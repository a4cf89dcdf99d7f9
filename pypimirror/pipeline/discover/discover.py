"""Discover: read the pages of the projects that may have changed.

`discover` fetches the pages of a batch, upstream by upstream, and writes the decisions of `decide`
into the catalog. `discover.changes` finds these projects.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from pypimirror.catalog.queries import doubts, files, projects, runs
from pypimirror.catalog.records import FileRecord, ProjectRecord
from pypimirror.config.sections import UpstreamSection
from pypimirror.domain.model import (
    Problem,
    ProjectName,
    ProjectPage,
    ProjectStatus,
    Reason,
    Stage,
)
from pypimirror.download.protocol import FetchPage
from pypimirror.pipeline.asked import remembering
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.discover import (
    alternates,
    cross_checks,
    further_digests,
    metadata,
    project_pages,
    seen,
    storing,
)
from pypimirror.pipeline.discover.alternates import PageAnswer
from pypimirror.pipeline.discover.decisions import keep, losses, replacing
from pypimirror.pipeline.discover.decisions.comparing import believed
from pypimirror.pipeline.discover.decisions.decide import Decision, decide, to_json
from pypimirror.pipeline.discover.decisions.merging import Terms
from pypimirror.pipeline.discover.links import upstream_links
from pypimirror.pipeline.discover.lists import listings, lists, misses, trust
from pypimirror.pipeline.run import Run

#: Most pages, and most files on them, that go into the catalog in one transaction. A page of 64 MiB
#: has a million files and takes a gigabyte of memory.
_COMMIT = 200
_FILES = 20_000

#: Reasons that mean that the whole upstream is down, not only one page.
_OUTAGE = frozenset({Reason.CONNECTION, Reason.TIMEOUT, Reason.HTTP_STATUS, Reason.BAD_RESPONSE})


def discover(run: Run, batch: Batch) -> None:
    """Fetch the pages of the projects of a batch and write their contents into the catalog."""
    with run.catalog.write() as connection:
        rows = [row for row in projects.get(connection, batch.projects) if row.needs_fetch]
        selection = remembering.with_asked(connection, run.selection, (row.name for row in rows))
        rows = remembering.without_unwanted(connection, selection, rows)
        doubtful = doubts.doubtful(connection, [row.id for row in rows])
        without_list = listings.without_list(run, connection)
        runs.clear_failures(connection, run.id, Stage.DISCOVER, [row.name for row in rows])
    run = replace(run, selection=selection)
    run.ledger.begin(Stage.DISCOVER, len(rows))
    if run.ledger.is_cut_off(rows) or not rows:
        return
    outages = []
    asked_again: set[int] = set()
    # If an upstream does not have a project, the next upstream is asked.
    asked: list[tuple[ProjectRecord, int]] = [
        (row, _first_upstream(run, row, without_list)) for row in rows
    ]
    while asked:
        missing: list[tuple[ProjectRecord, int]] = []
        absent: list[ProjectRecord] = []
        for chunk in _chunks(_ask(run, asked, doubtful)):
            number = len(chunk)
            problems = _take(run, chunk, missing, absent)
            outages += problems
            run.ledger.failed(Stage.DISCOVER, problems)
            run.reporter.advance(Stage.DISCOVER, things=number)
        again = misses.elsewhere(run, absent, asked_again)
        found = {row.id for row, _ in again}
        misses.settle(run, [row for row in absent if row.id not in found])
        asked = missing + again
    if outages and not run.ledger.answered:
        run.ledger.unreachable = lists.unreachable(run, outages[0])


def _take(
    run: Run,
    chunk: list[PageAnswer],
    missing: list[tuple[ProjectRecord, int]],
    absent: list[ProjectRecord],
) -> list[Problem]:
    """Write answers into the catalog and drop them. Return the problems.

    A project that this upstream lacks goes into `missing` or, after the last one, into `absent`.
    """
    problems = []
    read = []
    for answer in chunk:
        row, position, problem = answer.row, answer.position, answer.result.problem
        if problem is None or problem.reason not in _OUTAGE:
            run.ledger.answered = True
        if problem is None:
            read.append(answer)
        elif problem.reason is not Reason.MISSING:
            problems.append(replace(problem, project=row.name))
        elif (further := _next_upstream(run, row, position)) is not None:
            missing.append((row, further))
        else:
            absent.append(row)
    _apply(run, read)
    chunk.clear()  # it may be large, and the generator still refers to it
    return problems


def _first_upstream(run: Run, row: ProjectRecord, without_list: Collection[str]) -> int:
    """Return the upstream to ask first: the one whose list has the project, else the first."""
    owners = run.selection.owners(ProjectName(row.name))
    if not row.listed:
        return owners[0]
    upstreams = run.config.upstream
    # An upstream without a list may have the project too. It wins if it is configured first.
    may = {row.upstream, *without_list}
    return next((i for i in owners if upstreams[i].name in may), owners[0])


def _next_upstream(run: Run, row: ProjectRecord, position: int) -> int | None:
    """Return the next upstream to ask if the one at `position` does not have the project."""
    owners = run.selection.owners(ProjectName(row.name))
    return next((further for further in owners if further > position), None)


def _ask(
    run: Run, asked: Sequence[tuple[ProjectRecord, int]], doubtful: Collection[int]
) -> Iterator[PageAnswer]:
    """Fetch the pages, and yield the answers. Ask the alternates for pages that failed."""
    by_id = {row.id: (row, position) for row, position in asked}
    jobs = (_page_job(run, row, position, row.id in doubtful) for row, position in asked)
    failed = []
    for result in project_pages.ask(run, jobs):
        answer = PageAnswer(*by_id[result.id], result)
        if result.problem is None or result.problem.reason is Reason.MISSING:
            yield answer
        else:
            failed.append(answer)
        del answer, result  # free its memory before the next one arrives
    yield from alternates.instead(run, failed)


def _page_job(run: Run, row: ProjectRecord, position: int, is_doubtful: bool) -> FetchPage:
    """Return the job that fetches a page, with the validators of the page that was read last.

    They are left out if something contradicts that page, or if it is old (`discover.lists.trust`).
    """
    upstream = run.config.upstream[position]
    # "Not modified" is valid only for a page that came from this upstream under this selection.
    same = (
        row.upstream == upstream.name
        and row.selection == run.selection.digest
        and row.removal_cause is None
    )
    candidates = listings.of_row(run, upstream, row)
    job = project_pages.page_job(
        row.id, upstream, (upstream.name, upstream.url), row.name, candidates
    )
    is_over = trust.is_over(row.read_at, run.now, trust.PAGE_TRUST, row.name)
    if not same or is_over or is_doubtful:
        return job
    if trust.is_contradicted(row):
        return job
    return replace(job, etag=row.etag, last_modified=row.last_modified)


def _chunks(answers: Iterator[PageAnswer]) -> Iterator[list[PageAnswer]]:
    """Split the answers into chunks that are limited in pages and in files."""
    chunk: list[PageAnswer] = []
    held = 0
    for answer in answers:
        chunk.append(answer)
        held += len(answer.result.page.files) if answer.result.page is not None else 0
        del answer
        if len(chunk) == _COMMIT or held >= _FILES:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


class _Evidence(Struct, frozen=True):
    """What decides on the pages that one transaction takes. All mappings are by project id."""

    pages: Mapping[int, tuple[int, ProjectPage]]  #: those that changed, with their upstream
    held: Mapping[int, dict[str, FileRecord]]
    belied: Mapping[int, Sequence[Problem]]  #: sizes that a digest contradicts
    known: Mapping[int, metadata.ProjectMetadata]
    others: cross_checks.OtherClaims
    terms: Mapping[int, Terms]

    def is_incomplete(self, project: int) -> bool:
        """Whether a source could not be read, so that the decision may be wrong."""
        known = self.known.get(project)
        return project in self.others.failed or (known is not None and known.failed is not None)


def _apply(run: Run, read: Sequence[PageAnswer]) -> None:
    """Write the contents of pages into the catalog, in one transaction."""
    if not read:
        return
    evidence = _gather(run, read)
    decisions: dict[int, Decision] = {}
    with run.catalog.write() as connection:
        lets_go = replacing.is_allowed(run, connection, _replaced(read, evidence))
        values = [_new_columns(run, answer, evidence, lets_go, decisions) for answer in read]
        projects.change(connection, values)
        seen.note_serials(run, connection, read, decisions)
        storing.store(run, connection, decisions)
    for decision in decisions.values():
        for problem in decision.refused:
            run.reporter.problem(Stage.DISCOVER, problem)
    run.ledger.failed(Stage.DISCOVER, evidence.others.failed.values())
    metadata.report(run, evidence.known.values())


def _gather(run: Run, read: Sequence[PageAnswer]) -> _Evidence:
    """Collect what the catalog, the configuration and other sources say about pages."""
    pages = {
        row.id: (position, result.page)
        for row, position, result, _ in read
        if result.page is not None and not seen.is_unchanged(run, row, position, result)
    }
    held = _held(run, list(pages))
    belied: dict[int, list[Problem]] = {}
    for i, (position, page) in pages.items():
        page, belied[i] = believed(page, held[i])
        pages[i] = position, page
    known = metadata.of_answers(run, read, pages)
    others = cross_checks.ask(run, pages)
    terms = {
        row.id: terms_of(run, run.config.upstream[position], place)
        for row, position, _, place in read
    }
    further_digests.add(run, {i: page for i, (_, page) in pages.items()}, held, others, terms)
    return _Evidence(pages, held, belied, known, others, terms)


def _replaced(read: Sequence[PageAnswer], evidence: _Evidence) -> Iterator[tuple[str, int]]:
    """Yield each project with the number of its files that changed digests would replace."""
    for row, _, _, _ in read:
        if row.id in evidence.pages:
            _, page = evidence.pages[row.id]
            claims, terms = evidence.others.claims[row.id], evidence.terms[row.id]
            yield row.name, replacing.number(page, evidence.held[row.id], claims, terms)


def _new_columns(
    run: Run, answer: PageAnswer, evidence: _Evidence, lets_go: bool, decisions: dict[int, Decision]
) -> dict[str, Any]:
    """Return the new columns of a project. Add the decision on its page if that has changed."""
    row, position, result, place = answer
    if row.id not in evidence.pages:
        values = seen.unchanged_values(run, row, position, result)
    else:
        decisions[row.id], columns = _read_page(run, answer, evidence, lets_go)
        values = {"id": row.id, **columns, **seen.identity(run, row, position, result)}
        if evidence.is_incomplete(row.id):
            values |= {"etag": None, "last_modified": None, "page_digest": None}
            values["needs_fetch"] = True
    if place:  # ask again: the page of an alternate may be older than the upstream's
        values["needs_fetch"] = True
    return values


def _held(run: Run, ids: Sequence[int]) -> dict[int, dict[str, FileRecord]]:
    """Return the files in the catalog, by project id and name. No other batch changes them."""
    held: dict[int, dict[str, FileRecord]] = defaultdict(dict)
    if ids:
        with run.catalog.read() as connection:
            for file in files.of_projects(connection, ids):
                held[file.project_id][file.filename] = file
    return held


def terms_of(run: Run, upstream: UpstreamSection, place: str) -> Terms:
    """Return the terms for decisions on a page from `place`, an alternate, or from the upstream."""
    believed = next((u.name for u in run.config.upstream if u.authoritative), None)
    return Terms(
        owner=place or upstream.name,
        authoritative=place if place and upstream.authoritative else believed,
        replace_changed=run.config.verify.on_changed == "replace",
        keep=run.config.delete.keep,
    )


def _read_page(
    run: Run, answer: PageAnswer, evidence: _Evidence, lets_go: bool
) -> tuple[Decision, dict[str, Any]]:
    """Decide on a page of the upstream, or of its alternate. Return that and new columns."""
    row, position, _, place = answer
    upstream = run.config.upstream[position]
    page, held = evidence.pages[row.id][1], evidence.held[row.id]
    known = evidence.known.get(row.id)
    if run.selection.follows:
        run.cache.versions[row.name] = project_pages.version_lines(page)
    metadata_of = known.files if known is not None else {}
    choice = run.selection.choose(ProjectName(row.name), page.files, run.now, metadata_of)
    selected = project_pages.limited(page, choice.selected, upstream.newest)
    before = metadata.before(row.facts, held, metadata_of)
    lost = losses.of_page(run, page, held, selected, before)
    unwanted = keep.unwanted(run, row.name, page.files, held, before)
    if known is not None and known.undecided:
        selected = _as_before(run, upstream, page, selected, held, known.undecided)
    locations = project_pages.locations(page) if run.config.mirror.layout == "pypi" else {}
    links = upstream_links.links(run, upstream, place, page, selected, held)
    decision = decide(
        page,
        held,
        selected,
        locations,
        evidence.others.claims[row.id],
        replace(evidence.terms[row.id], lets_go=lets_go),
        links,
        lost,
        unwanted,
    )
    if known is not None:
        decision.refused.extend(known.refused)
    decision.refused.extend(misses.unmet(run, upstream, page, held))
    decision.refused.extend(evidence.belied[row.id])
    for warning in page.warnings:
        run.reporter.note("warning", f"{row.name}: {warning}")
    return decision, _columns(run, page, upstream, selected, choice.until, known)


def _columns(
    run: Run,
    page: ProjectPage,
    upstream: UpstreamSection,
    selected: Sequence[bool],
    until: float | None,
    known: metadata.ProjectMetadata | None,
) -> dict[str, Any]:
    """Return the columns of a project that a page decides on."""
    active = page.status is ProjectStatus.ACTIVE
    return {
        "upstream": upstream.name,
        "api_version": ".".join(map(str, page.api_version)),
        "status": None if active else page.status.value,
        "status_reason": page.status_reason,
        "versions": to_json(project_pages.versions(page, selected)),
        "extra": to_json(page.extra),
        "selection": run.selection.digest,
        "choice_until": until,
        "facts": known.column if known is not None else None,
        "removal_cause": None,
        "kept": None,
        "page_stale": True,
    }


def _as_before(
    run: Run,
    upstream: UpstreamSection,
    page: ProjectPage,
    selected: Sequence[bool],
    held: Mapping[str, FileRecord],
    undecided: Collection[str],
) -> list[bool]:
    """Return the selection, with undecided files in or out as they are in the catalog."""
    # If rules count releases, an undecided release could take the place of any other.
    if upstream.newest or run.selection.counts(ProjectName(page.project)):
        undecided = {file.filename for file in page.files}
    return [
        is_in if file.filename not in undecided else _is_in(held.get(file.filename))
        for file, is_in in zip(page.files, selected, strict=True)
    ]


def _is_in(held: FileRecord | None) -> bool:
    """Whether a file of the catalog is selected until now."""
    return held is not None and held.removal_cause is None
