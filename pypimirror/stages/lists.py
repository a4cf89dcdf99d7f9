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

from pypimirror.addresses import NONE
from pypimirror.catalog import projects
from pypimirror.catalog.rows import AnyRow
from pypimirror.catalog.states import Cause
from pypimirror.download.protocol import FetchList, ListResult
from pypimirror.download.unchanged import is_unchanged
from pypimirror.model import Problem, ProjectList, ProjectName, ReadError, Stage
from pypimirror.sections import UpstreamSection
from pypimirror.stages import linkpages, trust
from pypimirror.stages.run import Run, further_places, remotes
from pypimirror.upstream.listing import parse_list
from pypimirror.upstream.read import page_headers

_SELECTION_MARK = "selection"
_ABSENT: Any = object()

#: Into so many shares, at most, the rolling re-check is cut: a few projects in each run would have
#: every run start what fetches pages.
_SHARES = 50


def drop_deselected(run: Run) -> None:
    """Mark as gone what a changed selection leaves out, and look again at what it lets in."""
    with run.catalog.read() as connection:
        if projects.get_mark(connection, _SELECTION_MARK) == run.selection.digest:
            return
        dropped = [
            number
            for number, name, gone in projects.names(connection)
            if gone != Cause.SELECTION and not run.selection.project(name)
        ]
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
    """Yield for each upstream when the next share of its projects is to be asked for.

    And when its list is to be read whole, whatever its validators say.
    """
    for upstream in run.config.upstream:
        known = projects.get_list(connection, upstream.name)
        if known is not None and known.read_at is not None:
            yield trust.ends_at(known.read_at, trust.LIST_TRUST, upstream.name)
        if interval := upstream.recheck.total_seconds():
            began = float(projects.get_mark(connection, _recheck_mark(upstream)) or "-inf")
            yield began + interval / max(1, min(_SHARES, projects.highest_id(connection)))


def _recheck_mark(upstream: UpstreamSection) -> str:
    return f"recheck {upstream.name}"


@dataclass(frozen=True)
class _Asked:
    """What came of asking an upstream for its list."""

    upstream: UpstreamSection
    position: int
    #: The serials in its list, by project; None where it was not read.
    serials: dict[ProjectName, int | None] | None
    #: It said that the list is what it was.
    is_unchanged: bool
    #: It gave another list than the validators say that it had before.
    is_moved: bool
    #: A name that is new may be taken for this upstream's: not while an earlier one's list is
    #: unknown, which may have that name.
    new_ones: bool

    def may_own(self, run: Run, name: ProjectName) -> bool:
        """Whether a name in its list is selected, and not reserved for another upstream."""
        return run.selection.project(name) and self.position in run.selection.owners(name)


@dataclass
class _Found:
    """What lists show."""

    changed: dict[int, list[ProjectName]]  #: by the position of the upstream that has them
    missing: list[ProjectName]  #: what no list has
    seen: int = 0


def compare(run: Run) -> None:
    """Read the lists of all upstreams and mark every project that may have changed.

    The lists are held in memory and the catalog is not: it streams past them.
    """
    asked: list[_Asked] = []
    memories: dict[str, dict[str, Any]] = {}  # of the lists that were read now
    failed: list[tuple[UpstreamSection, Problem | None]] = []
    complete = True  # whether all upstreams so far are known to the last project
    for position, upstream in enumerate(run.config.upstream):
        was_conditional = upstream.kind != "links" and any(_validators(run, upstream).values())
        answer, found = _fetch(run, upstream)
        serials = None
        own = answer.problem is None  # not an alternate's, which may lack what is new
        if found is not None:
            serials = trust.believed(run, upstream.name, _serials(found))
            done = complete and own and None not in serials.values()
            memories[upstream.name] = _memory(run, answer, found, done=done)
        elif not answer.not_modified:
            failed.append((upstream, answer.problem))
        run.answered = run.answered or found is not None or answer.not_modified
        is_moved = found is not None and own and was_conditional
        asked.append(_Asked(upstream, position, serials, answer.not_modified, is_moved, complete))
        complete = complete and own and (found is not None or answer.not_modified)
    if failed:
        _lists_failed(run, failed)
    if not run.answered:
        return
    shown = _hold_against_catalog(run, asked, complete=complete)
    with run.catalog.write() as connection:
        for position, names in shown.changed.items():
            for chunk in projects.chunks(names):
                projects.ensure(connection, chunk)
                projects.to_look(connection, chunk, run.config.upstream[position].name)
        for one in asked:
            if _is_silent(one, shown):
                projects.check_again(connection, one.upstream.name, len(run.listed) + shown.seen)
        projects.to_look(connection, shown.missing)
        # With the last of the marks, not before: a list that counts as read is not read again.
        for name, values in memories.items():
            projects.set_list(connection, name, **values)
    run.count(projects_seen=shown.seen)


def _is_silent(one: _Asked, shown: _Found) -> bool:
    """Whether a list says that something has changed, and not what: rule 3 of `stages.trust`.

    What is left in `serials` are projects that nobody here selects: it may be one of them.
    """
    if not one.is_moved or one.serials is None or shown.changed[one.position] or shown.missing:
        return False
    return not one.serials and shown.seen <= trust.FEW


def _serials(found: ProjectList) -> dict[ProjectName, int | None]:
    """Return the serials of a list by normalised name; of two spellings, the first counts."""
    serials = {_normalised(entry.name): entry.serial for entry in found.projects}
    if len(serials) < len(found.projects):
        serials.clear()
        for entry in found.projects:
            serials.setdefault(_normalised(entry.name), entry.serial)
    return serials


def _normalised(name: str) -> ProjectName:
    """Do what `canonicalize_name` does, without a regular expression for most names."""
    plain = name.lower().replace("_", "-").replace(".", "-")
    return ProjectName(canonicalize_name(name) if "--" in plain else plain)


def _hold_against_catalog(run: Run, asked: Sequence[_Asked], *, complete: bool) -> _Found:
    """Find what is new, changed or missing; takes the names that the catalog has out of `asked`."""
    found = _Found({one.position: [] for one in asked}, [])
    read = {one.upstream.name for one in asked if one.serials is not None}
    configured = {one.upstream.name for one in asked}
    with run.catalog.read() as connection:
        for row in projects.known(connection):
            name = ProjectName(row[0])
            if _is_owned(run, asked, found, name, row):
                found.seen += 1
            elif (
                row.upstream in read or (complete and row.upstream not in configured)
            ) and row.gone not in (Cause.UPSTREAM, Cause.SELECTION):
                found.missing.append(name)
    for one in asked:
        _take_new(run, one, asked[: one.position], found)
    return found


def _is_owned(
    run: Run, asked: Sequence[_Asked], found: _Found, name: ProjectName, row: AnyRow
) -> bool:
    """Whether an upstream has a project of the catalog; note it where its first owner's differs."""
    _, serial, upstream, selection, gone = row
    owned = False
    for one in asked:
        if one.serials is None:
            owned = owned or (one.is_unchanged and upstream == one.upstream.name and gone is None)
            continue
        stated = one.serials.pop(name, _ABSENT)
        if stated is _ABSENT or owned:
            continue
        same = upstream == one.upstream.name
        if same and gone is None and selection == run.selection.digest:
            owned = True  # as it was when its page was read
            is_changed = stated is None or stated != serial
        else:
            owned = is_changed = (same or one.new_ones) and one.may_own(run, name)
        if is_changed:
            run.listed[name] = stated
            found.changed[one.position].append(name)
    return owned


def _take_new(run: Run, one: _Asked, before: Sequence[_Asked], found: _Found) -> None:
    """Note what an upstream lists that neither the catalog has nor an upstream before it."""
    if one.serials is None or not one.new_ones:
        return
    for name, serial in one.serials.items():
        if any(earlier.serials and name in earlier.serials and earlier.may_own(run, name)
               for earlier in before):  # fmt: skip
            continue
        if one.may_own(run, name):
            found.seen += 1
            run.listed[name] = serial
            found.changed[one.position].append(name)


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
    known = _validators(run, upstream)
    if name != upstream.name:  # validators of one place are no other's
        known = dict.fromkeys(known)
    job = FetchList(id=0, remote=name, url=url, path=str(path), **known)
    headers = page_headers(job.etag, job.last_modified) | {"User-Agent": run.config.user_agent}
    conditional = bool(job.etag or job.last_modified)
    if conditional and _is_unchanged(run, name, headers):
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


def _validators(run: Run, upstream: UpstreamSection) -> dict[str, str | None]:
    """Return the validators by which an upstream's list may be "not modified"."""
    with run.catalog.read() as connection:
        known = projects.get_list(connection, upstream.name)
    if (
        known is None
        or known.selection != run.selection.digest
        or trust.is_over(known.read_at, run.now, trust.LIST_TRUST, upstream.name)
    ):
        return {"etag": None, "last_modified": None}
    return {"etag": known.etag, "last_modified": known.last_modified}


def _is_unchanged(run: Run, name: str, headers: dict[str, str]) -> bool:
    """Whether a place plainly answers that it is unchanged; noted where the next run may ask, too.

    A place behind a proxy or a login that is configured is a worker's affair.
    """
    remote = next(remote for remote in remotes(run.config) if remote.name == name)
    if remote.authorization or remote.proxy not in ("", NONE):
        return False
    direct = remote.proxy == NONE
    timeout = run.config.download.timeout
    if not is_unchanged(remote.url, headers, timeout, ca_file=remote.ca_file, direct=direct):
        return False
    if not direct and not remote.ca_file:  # what the next run asks knows of neither
        run.unchanged[name] = remote.url, headers
    return True


def _memory(run: Run, result: ListResult, found: ProjectList, *, done: bool) -> dict[str, Any]:
    """Return what is to be remembered of a list that was read.

    It must be read again, whether it changes or not, unless `done`: where names of it were passed
    over, and where it does not tell by serials which of its projects have changed.
    """
    return {
        "etag": result.etag if done else None,
        "last_modified": result.last_modified if done else None,
        "serial": found.serial,
        "selection": run.selection.digest,
        "read_at": run.now,
    }


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
    addresses = ", ".join(upstream.url for upstream in run.config.upstream)
    return msgspec.structs.replace(
        problem,
        message=f"no upstream answered ({addresses}): {problem.message.rstrip('.')}; check the "
        "line, or name another index in [[upstream]] url. What is published stays as it is",
        project="",
        file="",
    )
