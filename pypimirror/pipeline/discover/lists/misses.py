"""Discover, the part on projects that somebody named and that no upstream has.

Such a project is never passed over in silence, whether it was mirrored before or not: every run
says so until it is there or not named any more. Before that, the upstreams' lists are read, where
this run did not, since they may have it under another spelling; and what they are instead of an
index is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import urljoin

from pypimirror.catalog.queries import projects
from pypimirror.catalog.records import FileRecord, ProjectRecord
from pypimirror.config.sections import UpstreamSection
from pypimirror.domain.model import (
    Problem,
    ProjectList,
    ProjectName,
    ProjectPage,
    ProjectStatus,
    ReadError,
    Reason,
    Stage,
)
from pypimirror.download.protocol import FetchList, ListResult
from pypimirror.pipeline.discover.decisions import keep
from pypimirror.pipeline.discover.decisions.held import as_file
from pypimirror.pipeline.discover.kinds.registry import kind_of
from pypimirror.pipeline.discover.lists import listings
from pypimirror.pipeline.run import Run
from pypimirror.system import regular
from pypimirror.upstream.listing import parse_list

#: Bytes of a list that are read for the sake of a name: that of a public index has 40 MB, and its
#: pages are where one looks.
_LONGEST = 8 << 20


def is_named(run: Run, name: str) -> bool:
    """Whether somebody named a project, in the configuration or for this run."""
    return name in (run.names if run.names is not None else run.selection.named)


def elsewhere(
    run: Run, absent: Iterable[ProjectRecord], asked_again: set[int]
) -> list[tuple[ProjectRecord, int]]:
    """Return the named ones of these projects that a list has somewhere else, and whose list.

    Each is returned once: `asked_again` holds the ids of those that were.
    """
    found = []
    for row in absent:
        if not is_named(run, row.name) or row.id in asked_again:
            continue
        for position in run.selection.owners(ProjectName(row.name)):
            if listed_at(run, run.config.upstream[position], row.name):
                asked_again.add(row.id)
                found.append((row, position))
                break
    return found


def listed_at(run: Run, upstream: UpstreamSection, project: str) -> str | None:
    """Return where an upstream's list says that a page is, if not where one looks."""
    _read(run, upstream)
    return run.discovered.places[upstream.name].get(project)


def settle(run: Run, absent: Sequence[ProjectRecord]) -> None:
    """Deal with projects that no upstream has.

    One that was mirrored is gone upstream. One that was not is a wrong name, or a list that is
    older than the truth.
    """
    if not absent:
        return
    with run.catalog.write() as connection:
        keep.deleted(run, connection, (row for row in absent if row.api_version is not None))
        projects.drop(connection, [row.id for row in absent if row.api_version is None])
    listings.note_nowhere(run, (row for row in absent if row.api_version is None))
    run.ledger.failed(Stage.DISCOVER, problems(run, absent))


def problems(run: Run, absent: Sequence[ProjectRecord]) -> Iterator[Problem]:
    """Yield what there is to say of projects that no upstream has."""
    for row in absent:
        if is_named(run, row.name) and not (row.kept is not None and run.config.delete.keep):
            yield Problem(Reason.MISSING, _message(run, row), row.name)


def unmet(
    run: Run, upstream: UpstreamSection, page: ProjectPage, held: Mapping[str, FileRecord]
) -> Iterator[Problem]:
    """Yield what there is to say of releases that somebody named, and of which a page has none.

    What is kept though it is deleted counts. A page that is not whole says nothing.
    """
    if page.partial or page.status is ProjectStatus.QUARANTINED:
        return
    if not page.files and not page.problems and is_named(run, page.project):
        told = (
            f"{page.project}: its page at {upstream.name} has no files; no other upstream is asked"
        )
        run.reporter.note("warning", told)
    kept = [as_file(old) for old in held.values() if old.kept is not None]
    for text in run.selection.unmet(ProjectName(page.project), [*page.files, *kept]):
        said = (
            f"{page.project}: no file on its page at {upstream.name} is of {text}; check the "
            "version, and the hashes if there are any, in select.projects"
        )
        yield Problem(Reason.MISSING, said, page.project)


def _message(run: Run, row: ProjectRecord) -> str:
    owners = [run.config.upstream[n] for n in run.selection.owners(ProjectName(row.name))]
    tried = ", ".join(upstream.url for upstream in owners)
    hints = [hint for upstream in owners if (hint := run.discovered.hints.get(upstream.name))]
    if row.api_version is None:
        said = f"{row.name}: no upstream has a project of this name (asked {tried}); "
        return said + ("; ".join(hints) or "check the spelling in select.projects")
    said = f"{row.name}: no upstream has this project any more (asked {tried}); "
    if not hints and run.config.delete.keep:
        return f"{said}what is here of it stays, marked as deleted; from now on, status tells that"
    return said + ("; ".join(hints) or "if that is right, take it out of select.projects")


def _read(run: Run, upstream: UpstreamSection) -> None:
    """Read an upstream's list, once in a run; note where it has its pages, or what it is."""
    known = run.discovered
    if not kind_of(upstream).has_pages or not upstream.has_list or upstream.name in known.read:
        return
    known.read.add(upstream.name)
    answer, found, said = _ask(run, upstream, upstream.url)
    if found is not None:
        known.places[upstream.name].update(listings.odd_places(upstream, answer, found))
        return
    if answer.problem is not None and answer.problem.reason is Reason.TOO_LARGE:
        return
    further = urljoin(upstream.url, "simple/")
    if not upstream.url.endswith("/simple/") and _ask(run, upstream, further)[1] is not None:
        said = f'there is an index at {further}: write url = "{further}" into its [[upstream]]'
    elif answer.status in listings.NO_LIST:
        said = (
            f"there is no project list at {upstream.url} either (status {answer.status}): check "
            "the address, which mostly ends in /simple/, and the spelling in select.projects"
        )
    known.hints[upstream.name] = said


def _ask(
    run: Run, upstream: UpstreamSection, url: str
) -> tuple[ListResult, ProjectList | None, str]:
    path = run.workspace.staging / f"list.{upstream.name}"
    job = FetchList(0, upstream.name, url, str(path), max_size=_LONGEST)
    (answer,) = run.fetch([job])
    assert isinstance(answer, ListResult)
    if answer.problem is not None:
        return answer, None, answer.problem.message.rstrip(".")
    try:
        return answer, parse_list(regular.read(str(path)), answer.content_type, answer.url), ""
    except ReadError as error:
        return answer, None, error.problem.message.rstrip(".")
    finally:
        run.workspace.unstage(path.name)
