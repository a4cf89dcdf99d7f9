"""Discover: projects that somebody named and that no upstream has.

Such a project is never skipped silently, whether it was mirrored before or not. Every run reports
it until it exists or is no longer named. Before that, the upstreams' lists are read if this run has
not read them yet: a list may have the project at another address. If an upstream is not an index,
the report says what it is.
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
from pypimirror.pipeline.discover.decisions.comparing import as_file
from pypimirror.pipeline.discover.kinds.registry import kind_of
from pypimirror.pipeline.discover.lists import listings
from pypimirror.pipeline.run import Run
from pypimirror.select.matching import Unmet
from pypimirror.system import regular
from pypimirror.upstream.listing import parse_list

#: Most bytes of a list that are read to look up a name. The list of a public index has 40 MB, and
#: its pages are at the usual addresses.
_LONGEST = 8 << 20


def is_named(run: Run, name: str) -> bool:
    """Whether the configuration, or this run's command line, names a project.

    Projects that only other projects need are reported elsewhere (`pipeline.closure`).
    """
    if run.selection.is_besides(ProjectName(name)):
        return False
    return name in (run.names if run.names is not None else run.selection.named)


def elsewhere(
    run: Run, absent: Iterable[ProjectRecord], asked_again: set[int]
) -> list[tuple[ProjectRecord, int]]:
    """Return the projects that a list has at another address, with the upstream's position.

    Only projects that are named, or needed by others.

    Each project is returned only once: `asked_again` collects their ids.
    """
    found = []
    for row in absent:
        is_meant = is_named(run, row.name) or run.selection.is_besides(ProjectName(row.name))
        if not is_meant or row.id in asked_again:
            continue
        for position in run.selection.owners(ProjectName(row.name)):
            if listed_at(run, run.config.upstream[position], row.name):
                asked_again.add(row.id)
                found.append((row, position))
                break
    return found


def listed_at(run: Run, upstream: UpstreamSection, project: str) -> str | None:
    """Return the address of a page in an upstream's list; None if it is the usual one."""
    _read(run, upstream)
    return run.cache.places[upstream.name].get(project)


def settle(run: Run, absent: Sequence[ProjectRecord]) -> None:
    """Handle projects that no upstream has.

    A project that was mirrored is deleted upstream. Otherwise its name is wrong, or a list is out
    of date.
    """
    if not absent:
        return
    never_read = [row for row in absent if row.api_version is None]
    with run.catalog.write() as connection:
        keep.deleted(run, connection, (row for row in absent if row.api_version is not None))
        projects.drop(connection, [row.id for row in never_read])
        listings.note_without_page(run, connection, never_read)
    run.ledger.failed(Stage.DISCOVER, problems(run, absent))


def problems(run: Run, absent: Sequence[ProjectRecord]) -> Iterator[Problem]:
    """Yield a problem for each named project that no upstream has."""
    for row in absent:
        if is_named(run, row.name) and not (row.kept is not None and run.config.delete.keep):
            yield Problem(Reason.MISSING, _message(run, row), row.name)


def unmet(
    run: Run, upstream: UpstreamSection, page: ProjectPage, held: Mapping[str, FileRecord]
) -> Iterator[Problem]:
    """Yield a problem for each release or file that the configuration names and the page lacks.

    A release that is kept after its deletion counts as present. An incomplete page proves nothing.
    """
    if page.partial or page.status is ProjectStatus.QUARANTINED:
        return
    if not page.files and not page.problems and is_named(run, page.project):
        warning = (
            f"{page.project}: its page at {upstream.name} has no files; no other upstream is asked"
        )
        run.reporter.note("warning", warning)
    kept = [as_file(old) for old in held.values() if old.kept is not None]
    offered = [*page.files, *kept]
    for found in run.selection.unmet(ProjectName(page.project), offered, run.now):
        message = f"{page.project}: {_of_unmet(found, upstream.name)}"
        yield Problem(Reason.MISSING, message, page.project, found.filename)


def _of_unmet(found: Unmet, upstream: str) -> str:
    """Return the message about what an entry names and a page lacks."""
    entry = found.entry
    if found.filename:
        text = f"{entry.source} names {found.filename}, and its page at {upstream} lacks it"
    elif found.digest is not None:
        text = (
            f"{entry.source} names a file of {entry.text} with the {found.digest[0]} "
            f"{found.digest[1]}, and its page at {upstream} lacks it"
        )
    else:
        return (
            f"no file on its page at {upstream} matches {entry.text}; check the version, and the "
            f"hashes if there are any, in {entry.source}"
        )
    return f"{text}; make the lock again, or add the upstream that has it"


def _message(run: Run, row: ProjectRecord) -> str:
    """Return the message about a project that no upstream has."""
    owners = [run.config.upstream[n] for n in run.selection.owners(ProjectName(row.name))]
    tried = ", ".join(upstream.url for upstream in owners)
    place = run.selection.explain_project(ProjectName(row.name)).rule
    hints = [hint for upstream in owners if (hint := run.cache.hints.get(upstream.name))]
    if row.api_version is None:
        message = f"{row.name}: no upstream has a project of this name (asked {tried}); "
        return message + ("; ".join(hints) or f"check the spelling in {place}")
    message = f"{row.name}: no upstream has this project any more (asked {tried}); "
    if not hints and run.config.delete.keep:
        return f"{message}its files here stay, marked as deleted; from now on, 'status' shows that"
    return message + ("; ".join(hints) or f"if that is right, take it out of {place}")


def _read(run: Run, upstream: UpstreamSection) -> None:
    """Read an upstream's list, once in a run. Note its unusual addresses, or a hint on what is
    wrong.
    """
    known = run.cache
    if not kind_of(upstream).has_pages or not upstream.has_list or upstream.name in known.read:
        return
    known.read.add(upstream.name)
    answer, found, hint = _ask(run, upstream, upstream.url)
    if found is not None:
        known.places[upstream.name].update(listings.odd_places(upstream, answer, found))
        return
    if answer.problem is not None and answer.problem.reason is Reason.TOO_LARGE:
        return
    further = urljoin(upstream.url, "simple/")
    if not upstream.url.endswith("/simple/") and _ask(run, upstream, further)[1] is not None:
        hint = f'there is an index at {further}: write url = "{further}" into its [[upstream]]'
    elif answer.status in listings.NO_LIST:
        hint = (
            f"there is no project list at {upstream.url} either (status {answer.status}): check "
            "the address, which usually ends in /simple/, and the spelling in select.projects"
        )
    known.hints[upstream.name] = hint


def _ask(
    run: Run, upstream: UpstreamSection, url: str
) -> tuple[ListResult, ProjectList | None, str]:
    """Fetch a list. Return the answer, the list if it could be read, and else the reason."""
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
