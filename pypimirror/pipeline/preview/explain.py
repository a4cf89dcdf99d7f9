"""Explain why each file of a project is mirrored or not, from the upstream's page as it is now.

It changes nothing and takes no lock. Its decisions are those of the next sync.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import InvalidName, canonicalize_name

from pypimirror.catalog import damage
from pypimirror.catalog.database import Catalog, is_absent
from pypimirror.catalog.queries import doubts, files, projects
from pypimirror.catalog.records import FileRecord
from pypimirror.catalog.states import DENIED, DENIED_ERROR, DUE, word
from pypimirror.config.sections import UpstreamSection
from pypimirror.config.settings import Config, ConfigError
from pypimirror.domain import documents
from pypimirror.domain.model import Problem, ProjectName, ProjectPage, Reason
from pypimirror.download.protocol import PageResult
from pypimirror.pipeline.closure import needs
from pypimirror.pipeline.closure.why import Why
from pypimirror.pipeline.context.ledger import KeptLedger
from pypimirror.pipeline.context.reporter import LogReporter
from pypimirror.pipeline.discover import metadata, project_pages
from pypimirror.pipeline.discover.decisions import keep
from pypimirror.pipeline.discover.decisions.comparing import believed
from pypimirror.pipeline.discover.decisions.decide import no_link
from pypimirror.pipeline.discover.links import upstream_links
from pypimirror.pipeline.discover.lists import listings, misses
from pypimirror.pipeline.run import Run, StoppedError, make
from pypimirror.select.facts import Verdict
from pypimirror.select.selection import Selection, policy
from pypimirror.storage.opening import opener
from pypimirror.storage.storage import MakeStorage
from pypimirror.storage.workspace import Workspace
from pypimirror.system import interrupts

_OF_A_VARIANT = Verdict(
    False,
    "variant",
    "it is a variant of its release: most installers do not know these files, and some fail on a "
    "page that lists them, so they are never mirrored",
)


class FileExplanation(Struct, frozen=True):
    """Why one file is mirrored or not."""

    file: str
    verdict: Verdict
    state: str | None  #: its state in this mirror; None: not in the catalog
    is_linked: bool = False  #: whether pages only link to it at the upstream; the verdict says why
    last_error: str | None = None  #: of the last attempt to fetch it, if it failed

    def as_json(self) -> documents.ExplainedFile:
        """Return the entry of `explain --json` for this file."""
        verdict = _verdict_json(self.verdict)
        return {
            "file": self.file,
            **verdict,
            "metadata_only": self.is_linked,
            "state": self.state,
            "last_error": self.last_error,
        }


class Explanation(Struct, frozen=True):
    """Why a project, and each of its files, is mirrored or not."""

    project: str
    verdict: Verdict
    upstream: str | None  #: the owner; None: no upstream was asked, or none has it
    files: list[FileExplanation]

    def as_json(self) -> documents.ExplanationDocument:
        """Return the document that `explain --json` prints."""
        return {
            "project": self.project,
            "upstream": self.upstream,
            **_verdict_json(self.verdict),
            "files": [file.as_json() for file in self.files],
        }


def _verdict_json(verdict: Verdict) -> documents.VerdictDocument:
    return {
        "selected": verdict.selected,
        "rule": verdict.rule or None,
        "fact": verdict.fact or None,
        "until": verdict.until,
        "until_iso": documents.iso(verdict.until),
    }


def explain(
    config: Config,
    name: str,
    file: str | None = None,
    make_storage: MakeStorage | None = None,
) -> Explanation:
    """Explain why the files of a project, or one of them, are mirrored or not.

    Raises `ConfigError` on a wrong project or file name, and `StoppedError` if no upstream answers.
    """
    try:
        project = ProjectName(canonicalize_name(name, validate=True))
    except InvalidName as error:
        raise ConfigError(f"{error}; name projects as the index does, without a version") from error
    with opened(config, Selection(config), make_storage) as run:
        with run.catalog.read() as connection:
            why = Why(connection, config, run.selection)
        verdict = _with_needs(run.selection.explain_project(project), why.of_project(project))
        verdict = _with_demand(config, project, _with_locks(config, project, verdict))
        held = held_of(run, project)
        if not verdict.selected:
            found = Explanation(project, verdict, None, [_left(row, verdict) for row in held])
        else:
            found = explained(run, project, verdict, held)
            if not found.verdict.selected:  # no upstream has it
                told = _with_needs(found.verdict, why.of_project(project))
                found = replace(found, verdict=told)
            found = replace(found, files=[_with_closure(e, project, why) for e in found.files])
    if file is None:
        return found
    chosen = [entry for entry in found.files if entry.file == file]
    if not chosen and verdict.selected:
        raise ConfigError(_unknown_file(file, project, [entry.file for entry in found.files]))
    return Explanation(project, verdict, found.upstream, chosen)


def _unknown_file(file: str, project: ProjectName, names: list[str]) -> str:
    """Say that a project has no file of this name, and which one may be meant."""
    near = [name for name in names if file in name] or get_close_matches(file, names, 1)
    hint = f"; give the whole name of a file, such as {near[0]}" if near else ""
    return f"{file}: neither the upstream nor this mirror has this file in {project}{hint}"


def _with_locks(config: Config, project: ProjectName, verdict: Verdict) -> Verdict:
    """Return the verdict on a project that only locks name, and no environment needs."""
    if verdict.selected or verdict.rule != "select.projects" or not config.select.locks:
        return verdict
    from pypimirror.select import locked  # few configurations have any

    for lock in locked.read(config.select.locks):
        for release in lock.releases:
            if release.project == project:
                return Verdict(
                    False,
                    release.source,
                    f"names {release}, which no environment of select.python and select.platforms "
                    "needs",
                )
    return verdict


def _with_demand(config: Config, project: ProjectName, verdict: Verdict) -> Verdict:
    """Add whether clients may ask for a project that is not mirrored."""
    if verdict.selected or not config.on_demand.projects:
        return verdict
    allowed = policy(config).explain_project(project)
    told = "clients may ask for it" if allowed.selected else "clients may not ask for it"
    reason = f"{allowed.rule}: {allowed.fact}"
    return replace(verdict, fact=f"{verdict.fact}; {told} ({reason})")


def _with_needs(verdict: Verdict, needed: str) -> Verdict:
    """Add to a verdict which projects need the file."""
    is_need = verdict.rule == "select.dependencies"
    if not needed or (verdict.selected and not is_need):
        return verdict
    return replace(verdict, fact=needed if is_need else f"{verdict.fact}; {needed}")


def _with_closure(entry: FileExplanation, project: ProjectName, why: Why) -> FileExplanation:
    """Add to a mirrored file's verdict who needs it, and whether its requirements are known."""
    if not entry.verdict.selected:
        return entry
    verdict, needed = entry.verdict, why.of_file(project, entry.file)
    if needed and not verdict.rule:
        verdict = replace(verdict, rule="select.dependencies", fact=needed)
    if unknown := why.unknown(project, entry.file):
        fact = f"{verdict.fact}; {unknown}" if verdict.fact else unknown
        verdict = replace(verdict, rule=verdict.rule or "select.dependencies", fact=fact)
    return replace(entry, verdict=verdict)


@contextmanager
def opened(
    config: Config, selection: Selection, make_storage: MakeStorage | None = None
) -> Iterator[Run]:
    """Open the catalog and the mirror root without creating anything."""
    with interrupts.raised(), ExitStack() as stack:
        staging = stack.enter_context(TemporaryDirectory(prefix="pypimirror-"))
        url = "sqlite://" if is_absent(config.catalog_url) else config.catalog_url
        catalog = stack.enter_context(closing(Catalog.open(url, reading=True)))
        stack.enter_context(damage.opened(catalog))
        with catalog.read() as connection:
            selection = needs.remembered(connection, selection)
        workspace = Workspace(config.directory, Path(staging))
        storage = (make_storage or opener(config.bucket))(workspace, None)
        reporter = LogReporter()
        ledger = KeptLedger(catalog, reporter)
        run = make(config, selection, catalog, storage, workspace, reporter, ledger, None)
        stack.enter_context(closing(run.pools))
        yield run


def held_of(run: Run, project: ProjectName) -> list[FileRecord]:
    """Return the files of a project in the catalog."""
    with run.catalog.read() as connection:
        ids = [row.id for row in projects.by_name(connection, [project])]
        return list(files.of_projects(connection, ids))


def explained(
    run: Run, project: ProjectName, verdict: Verdict, held: list[FileRecord]
) -> Explanation:
    """Explain each file of a selected project, with the page of its owner."""
    owner, page = page_of(run, project)
    if page is None:
        asked = ", ".join(run.config.upstream[n].name for n in run.selection.owners(project))
        gone = Verdict(False, "upstream", f"no upstream has a project of this name (asked {asked})")
        return Explanation(project, _kept(held, gone), None, [_left(row, gone) for row in held])
    files_known = {row.filename: row for row in held}
    page, _ = believed(page, files_known)
    states = {row.filename: word(row.state, row.last_error) for row in held}
    errors = {row.filename: row.last_error for row in held if row.state in DUE}
    refused_before = _refused(run, project)
    offer = metadata.OfferedPage(0, _facts(run, project), owner, page, {})
    known = metadata.read(run, [offer]).get(0, metadata.ProjectMetadata())
    if known.failed is not None:
        raise StoppedError(known.failed)
    verdicts = run.selection.explain(project, page.files, run.now, known.files)
    upstream = next(u for u in run.config.upstream if u.name == owner)
    kept = project_pages.limited(page, [v.selected for v in verdicts], upstream.newest)
    fact = f"not among the newest {upstream.newest} linked files"
    beyond = Verdict(False, "upstream.newest", fact)
    linked = _linked(run, upstream, page, kept, files_known)
    found = []
    for offered, ruled, is_kept in zip(page.files, verdicts, kept, strict=True):
        why, is_linked = ruled if is_kept == ruled.selected else beyond, False
        if why.selected and (link := linked.get(offered.filename)):
            why, is_linked = replace(link, until=why.until), link.selected
        state = states.pop(offered.filename, None)
        found.append(FileExplanation(offered.filename, why, state, is_linked))
    for problem in page.problems:
        refused = Verdict(False, problem.reason.value, problem.message)
        found.append(FileExplanation(problem.file, refused, states.pop(problem.file, None)))
    for name in page.left_out:
        found.append(FileExplanation(name, _OF_A_VARIANT, states.pop(name, None)))
    absent = Verdict(False, "upstream", f"the page of {owner} does not offer it")
    found.extend(_left(row, absent) for row in held if row.filename in states)
    found = [
        _with_error(_with_refusal(entry, refused_before), errors.get(entry.file)) for entry in found
    ]
    return Explanation(project, verdict, owner, sorted(found, key=lambda entry: entry.file))


def _refused(run: Run, project: ProjectName) -> dict[str, Problem]:
    """Return the refusals that the last run recorded for a project, by file."""
    with run.catalog.read() as connection:
        found = doubts.standing_refusals(connection, [project])
    return {problem.file: problem for problem in found}


def _with_refusal(entry: FileExplanation, refused: Mapping[str, Problem]) -> FileExplanation:
    """Show a recorded refusal as the verdict of a selected file."""
    problem = refused.get(entry.file)
    if problem is None or not entry.verdict.selected:
        return entry
    fact = f"{problem.message} (as the last run saw it)"
    return replace(entry, verdict=Verdict(False, problem.reason.value, fact))


def _with_error(entry: FileExplanation, error: str | None) -> FileExplanation:
    """Add the error of the last attempt to a selected file that is not here.

    A file that the upstream withholds is shown as not selected.
    """
    if error is None or not entry.verdict.selected or entry.is_linked:
        return entry
    entry = replace(entry, last_error=error)
    if entry.state != DENIED:
        return entry
    fact = f"{error.removeprefix(DENIED_ERROR)} (as the last try saw it)"
    return replace(entry, verdict=Verdict(False, DENIED, fact))


def _linked(
    run: Run,
    upstream: UpstreamSection,
    page: ProjectPage,
    kept: Sequence[bool],
    known: Mapping[str, FileRecord],
) -> dict[str, Verdict]:
    """Return the verdict, by name, for files that pages link to at the upstream, or must not."""
    links = upstream_links.links(run, upstream, "", page, kept, known)
    asked = run.selection.linked(ProjectName(page.project), page.files) if links else []
    found = {}
    for file, verdict in zip(page.files, asked, strict=False):
        if verdict is not None and file.filename in links:
            fault = no_link(links[file.filename], file.digests, known.get(file.filename))
            found[file.filename] = Verdict(False, fault[0].value, fault[1]) if fault else verdict
    return found


def _facts(run: Run, project: ProjectName) -> str | None:
    with run.catalog.read() as connection:
        return next((row.facts for row in projects.by_name(connection, [project])), None)


def _left(row: FileRecord, verdict: Verdict) -> FileExplanation:
    """Explain a file of the catalog that no page offers."""
    state = word(row.state, row.last_error)
    return FileExplanation(row.filename, _kept([row], verdict), state)


def _kept(held: Sequence[FileRecord], verdict: Verdict) -> Verdict:
    """Replace the verdict of deleted files that `[delete] keep` keeps here."""
    since = [row.kept for row in held if row.kept is not None]
    if verdict.rule != "upstream" or not since:
        return verdict
    return Verdict(True, "delete.keep", str(keep.mark(None, min(since))))


def page_of(run: Run, project: ProjectName) -> tuple[str, ProjectPage | None]:
    """Return the owner of a project and its page; no page if no upstream has the project."""
    for position in run.selection.owners(project):
        upstream = run.config.upstream[position]
        result = _ask(run, upstream, project)
        if result.page is not None:
            return upstream.name, result.page
        problem = result.problem or Problem(Reason.BAD_PAGE, "an answer without a page")
        if problem.reason is not Reason.MISSING:
            message = f"upstream {upstream.name}: {problem.message}{_next_step(problem)}"
            raise StoppedError(msgspec.structs.replace(problem, message=message))
    return "", None


def _next_step(problem: Problem) -> str:
    """Return advice for a failed connection."""
    if problem.reason not in (Reason.CONNECTION, Reason.TIMEOUT):
        return ""
    return " Check the network, and the address in [[upstream]] url."


def _ask(run: Run, upstream: UpstreamSection, project: ProjectName) -> PageResult:
    """Ask for a page at its last or usual address, then at the address in the upstream's list."""
    with run.catalog.read() as connection:
        rows = projects.by_name(connection, [project])
    known = next((row.page_at for row in rows if row.upstream == upstream.name), None)
    place = upstream.name, upstream.url
    usual = listings.candidates(upstream, project, known, None)
    (result,) = project_pages.ask(run, [project_pages.page_job(0, upstream, place, project, usual)])
    if result.problem is None or result.problem.reason is not Reason.MISSING:
        return result
    listed = misses.listed_at(run, upstream, project)
    if listed is None:
        return result
    further = listings.candidates(upstream, project, known, listed)
    (result,) = project_pages.ask(
        run, [project_pages.page_job(0, upstream, place, project, further)]
    )
    return result
