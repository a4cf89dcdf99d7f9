"""Discover, the part on whole lists: what the upstreams' project lists say has changed.

A list says what to look at, never what to remove: a project that is missing from it is asked for
by name first, because a quarantined one vanishes from the list and not from its page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from packaging.utils import canonicalize_name
from sqlalchemy import Connection

from pypimirror.catalog import projects
from pypimirror.catalog.states import Cause
from pypimirror.download.protocol import FetchList, ListResult
from pypimirror.download.unchanged import is_unchanged
from pypimirror.model import Problem, ProjectList, ProjectName, ReadError, Stage
from pypimirror.sections import UpstreamSection, without_login
from pypimirror.stages import linkpages
from pypimirror.stages.run import Run, further_places
from pypimirror.upstream.listing import parse_list
from pypimirror.upstream.read import page_headers

_SELECTION_MARK = "selection"

#: Into so many shares, at most, the rolling re-check is cut: a few projects in each run would have
#: every run start what fetches pages.
_SHARES = 50


def drop_deselected(run: Run) -> None:
    """Mark as gone what a changed selection leaves out, and look again at what it lets in."""
    with run.catalog.read() as connection:
        if projects.get_mark(connection, _SELECTION_MARK) == run.selection.digest:
            return
        dropped = []
        for row in projects.known(connection):
            if row.gone != Cause.SELECTION and not run.selection.project(row.name):
                dropped.append(row.id)
    with run.catalog.write() as connection:
        projects.deselect(connection, dropped)
        # What it lets in is in lists that were read before: they must be read again.
        projects.forget_lists(connection)
        projects.set_mark(connection, _SELECTION_MARK, run.selection.digest)


def recheck(run: Run) -> None:
    """Mark the share of unchanged projects whose turn it is to be asked for all the same.

    Some changes show in no list: archiving a project leaves its serial as it is.
    """
    for upstream in run.config.upstream:
        interval = upstream.recheck.total_seconds()
        if not interval:
            continue
        name = _recheck_mark(upstream)
        with run.catalog.read() as connection:
            # Time counts from the first run on, which asks for all anyhow.
            passed = run.now - float(projects.get_mark(connection, name) or "inf")
            share = int(projects.highest_id(connection) * min(1.0, max(0.0, passed / interval)))
        if 0 <= passed < interval / _SHARES:
            continue
        if share or passed < 0:  # as it also is where the clock was set back
            with run.catalog.write() as connection:
                projects.check_again(connection, upstream.name, share)
                projects.set_mark(connection, name, str(run.now))


def next_rechecks(run: Run, connection: Connection) -> Iterator[float]:
    """Yield for each upstream when the next share of its projects is to be asked for."""
    for upstream in run.config.upstream:
        if interval := upstream.recheck.total_seconds():
            began = float(projects.get_mark(connection, _recheck_mark(upstream)) or "-inf")
            yield began + interval / max(1, min(_SHARES, projects.highest_id(connection)))


def _recheck_mark(upstream: UpstreamSection) -> str:
    return f"recheck {upstream.name}"


@dataclass
class _Known:
    """A project as the catalog has it, as far as lists concern it."""

    serial: int | None
    upstream: str | None
    selection: str | None
    gone: str | None


def compare(run: Run) -> None:
    """Read the lists of all upstreams and mark every project that may have changed."""
    with run.catalog.read() as connection:
        known = {
            row.name: _Known(row.serial, row.upstream, row.selection, row.gone)
            for row in projects.known(connection)
        }
    seen: set[str] = set()
    read: dict[str, dict[str, Any]] = {}  # what to remember of the lists that were read now
    failed: list[tuple[UpstreamSection, Problem | None]] = []
    complete = True  # whether all upstreams so far are known to the last project
    for upstream in run.config.upstream:
        answer, found = _fetch(run, upstream)
        if found is not None:
            run.answered = True
            own = answer.problem is None  # not an alternate's, which may lack what is new
            read[upstream.name] = _memory(run, answer, found, whole=complete and own)
            changed = _changed(run, upstream, found, known, seen, new_ones=complete)
            complete = complete and own
            with run.catalog.write() as connection:
                for chunk in projects.chunks(changed):
                    projects.ensure(connection, chunk)
                    projects.to_look(connection, chunk, upstream.name)
        elif answer.not_modified:
            run.answered = True
            seen.update(
                name
                for name, row in known.items()
                if row.upstream == upstream.name and row.gone is None
            )
        else:
            complete = False
            failed.append((upstream, answer.problem))
    if failed:
        _lists_failed(run, failed)
    if not run.answered:
        return
    configured = {upstream.name for upstream in run.config.upstream}
    missing = [
        ProjectName(name)
        for name, row in known.items()
        if name not in seen
        and (row.upstream in read or (complete and row.upstream not in configured))
        and row.gone not in (Cause.UPSTREAM, Cause.SELECTION)
    ]
    with run.catalog.write() as connection:
        projects.to_look(connection, missing)
        # With the last of the marks, not before: a list that counts as read is not read again.
        for name, values in read.items():
            projects.set_list(connection, name, **values)
    run.count(projects_seen=len(seen))


def _fetch(run: Run, upstream: UpstreamSection) -> tuple[ListResult, ProjectList | None]:
    """Ask for an upstream's list; there is none where the answer says why or "not modified".

    Where it fails, the alternates are asked in turn: of a list that one of them gave, the answer
    is still the upstream's, with its problem.
    """
    first, found = _fetch_from(run, upstream, (upstream.name, upstream.url))
    if first.problem is None:
        return first, found
    for name, url in further_places(upstream):
        _, found = _fetch_from(run, upstream, (name, url))
        if found is not None:
            told = f"{upstream.name}: {first.problem.message} Its project list was taken from {url}"
            run.reporter.note("warning", told)
            return first, found
    return first, None


def _fetch_from(
    run: Run, upstream: UpstreamSection, place: tuple[str, str]
) -> tuple[ListResult, ProjectList | None]:
    """Ask for the list at one of an upstream's places, given by name and address."""
    if upstream.kind == "links":
        return linkpages.listing(run, upstream, place)
    name, url = place
    path = run.tree.staging / f"list.{upstream.name}"
    with run.catalog.read() as connection:
        before = projects.get_list(connection, upstream.name)
        waiting = before is None or before.selection != run.selection.digest
        waiting = waiting or name != upstream.name  # validators of one place are no other's
    job = FetchList(
        id=0,
        remote=name,
        url=url,
        path=str(path),
        etag=None if waiting or before is None else before.etag,
        last_modified=None if waiting or before is None else before.last_modified,
    )
    headers = page_headers(job.etag, job.last_modified) | {"User-Agent": run.config.user_agent}
    conditional = bool(job.etag or job.last_modified)
    if conditional and is_unchanged(url, headers, run.config.download.timeout):
        run.unchanged[name] = url, headers
        return ListResult(job.id, not_modified=True), None
    (result,) = run.fetch([job])
    assert isinstance(result, ListResult)
    if result.problem is not None or result.not_modified:
        return result, None
    try:
        found = parse_list(path.read_bytes(), result.content_type, result.url)
    except ReadError as error:
        return msgspec.structs.replace(result, problem=error.problem), None
    finally:
        run.tree.unstage(path.name)
    for warning in found.warnings:
        run.reporter.note("warning", f"{name}: {warning}")
    return result, found


def _memory(run: Run, result: ListResult, found: ProjectList, *, whole: bool) -> dict[str, Any]:
    """Return what is to be remembered of a list that was read.

    It must be read again, whether it changes or not, where names of it were passed over, and
    where it gives no serials: it then stays the same while its projects change.
    """
    done = whole and all(entry.serial is not None for entry in found.projects)
    return {
        "etag": result.etag if done else None,
        "last_modified": result.last_modified if done else None,
        "serial": found.serial,
        "selection": run.selection.digest,
    }


def _changed(
    run: Run,
    upstream: UpstreamSection,
    found: ProjectList,
    known: dict[str, _Known],
    seen: set[str],
    *,
    new_ones: bool,
) -> Iterator[ProjectName]:
    """Yield what one list shows as new or changed.

    While an earlier upstream's list is unknown, `new_ones` is off: a name that is new here might
    belong to that one.
    """
    position = run.config.upstream.index(upstream)
    for entry in found.projects:
        name = ProjectName(canonicalize_name(entry.name))
        if name in seen or not run.selection.project(name):
            continue
        if position not in run.selection.owners(name):
            continue
        row = known.get(name)
        if not new_ones and (row is None or row.upstream != upstream.name):
            continue
        seen.add(name)
        if row is None or _differs(run, upstream, entry.serial, row):
            run.listed[name] = entry.serial
            yield name


def _differs(run: Run, upstream: UpstreamSection, serial: int | None, row: _Known) -> bool:
    return (
        serial is None
        or serial != row.serial
        or row.upstream != upstream.name
        or row.selection != run.selection.digest
        or row.gone is not None
    )


def _lists_failed(run: Run, failed: Sequence[tuple[UpstreamSection, Problem | None]]) -> None:
    """Say which lists cannot be read; where none can, that ends the run."""
    first = next(problem for _, problem in failed if problem is not None)
    said = "; ".join(
        f"upstream {upstream.name}: its project list cannot be read: {problem.message}"
        for upstream, problem in failed
        if problem is not None
    )
    problem = msgspec.structs.replace(first, message=said)
    if run.answered:
        run.failed(Stage.DISCOVER, [problem])
    else:
        run.unreachable = unreachable(run, problem)


def unreachable(run: Run, problem: Problem) -> Problem:
    """Return `problem` as the reason why a run cannot work, with the way out."""
    addresses = ", ".join(without_login(upstream.url) for upstream in run.config.upstream)
    return msgspec.structs.replace(
        problem,
        message=f"no upstream answered ({addresses}): {problem.message.rstrip('.')}; check the "
        "line, or name another index in [[upstream]] url. What is published stays as it is",
        project="",
        file="",
    )
