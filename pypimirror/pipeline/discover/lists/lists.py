"""Discover: compare the upstreams' project lists with the catalog and mark what has changed.

A list says which pages to fetch, never what to remove. A project that is missing from a list is
first fetched by name, because a quarantined project disappears from the list but keeps its page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import inf
from typing import Any

import msgspec
from msgspec import Struct, field
from packaging.utils import canonicalize_name

from pypimirror.catalog.database import Connection
from pypimirror.catalog.marks import HAS_LIST, LIST_READ, RECHECK, SELECTION, ListRead, Mark
from pypimirror.catalog.queries import listed, marks, projects
from pypimirror.catalog.queries.listed import Listed
from pypimirror.catalog.records import KnownProject
from pypimirror.catalog.states import Cause
from pypimirror.config.sections import UpstreamSection
from pypimirror.domain.model import Problem, ProjectList, ProjectName, Reason
from pypimirror.download.protocol import ListResult
from pypimirror.pipeline import gate
from pypimirror.pipeline.asked import remembering
from pypimirror.pipeline.discover.kinds import simple
from pypimirror.pipeline.discover.kinds.registry import kind_of
from pypimirror.pipeline.discover.lists import asking, listings, trust
from pypimirror.pipeline.run import Run
from pypimirror.select.entries import Entry

#: Reasons that come from this machine, not from the upstream's answer.
_OWN_FAULTS = frozenset({Reason.DISK, Reason.FOREIGN, Reason.WORKER})
_ABSENT: Any = object()

#: Most shares that the rolling re-check has. With very small shares, every run would have to start
#: download workers for a few pages.
_SHARES = 50


def drop_deselected(run: Run) -> None:
    """Mark the projects that a changed selection excludes. All lists will be read again."""
    with run.catalog.read() as connection:
        if marks.read(connection, SELECTION) == run.selection.digest:
            return
        dropped = {
            ProjectName(row.name): row.id
            for row in projects.names(connection)
            if row.removal_cause != Cause.SELECTION
            and not run.selection.project(ProjectName(row.name))
        }
    with run.catalog.write() as connection:
        # Clients may have asked for more since this run began.
        selection = remembering.with_asked(connection, run.selection, dropped)
        projects.deselect(connection, (i for n, i in dropped.items() if not selection.project(n)))
        # New projects may be in lists that were read before, so read these again.
        listed.forget_lists(connection)
        marks.write(connection, SELECTION, run.selection.digest)


def mark_for_recheck(run: Run) -> None:
    """Mark the share of unchanged projects whose rolling re-check is due.

    Some changes show in no list: archiving a project does not change its serial.
    """
    for upstream in run.config.upstream:
        interval = upstream.recheck.total_seconds()
        if not interval:
            continue
        mark = RECHECK.of(upstream.name)
        with run.catalog.read() as connection:
            # Time counts from the first run, which fetches all pages anyhow.
            passed = run.now - _time(connection, mark, inf)
            share = int(projects.highest_id(connection) * min(1.0, max(0.0, passed / interval)))
        if 0 <= passed < interval / _SHARES:
            continue
        if share or passed < 0:  # also after the clock was set back
            with run.catalog.write() as connection:
                projects.check_again(connection, upstream.name, share)
                marks.write(connection, mark, run.now)


def _time(connection: Connection, mark: Mark[float], otherwise: float) -> float:
    """Return the time that a mark holds, or `otherwise` if it is not set."""
    known = marks.read(connection, mark)
    return otherwise if known is None else known


class _Asked(Struct, frozen=True):
    """The result of asking one upstream for its list."""

    upstream: UpstreamSection
    position: int
    #: The serials in its list, by project; None if the list was not read.
    serials: dict[ProjectName, int | None] | None
    #: It answered "not modified".
    is_unchanged: bool
    #: It sent a list although we asked with validators: they no longer match.
    is_moved: bool
    #: It answers but has no list: projects are asked for by name.
    has_none: bool
    #: New names may be assigned to this upstream. Not while the list of an earlier upstream is
    #: unknown: that one may have the name too.
    new_ones: bool

    def may_own(self, run: Run, name: ProjectName) -> bool:
        """Whether a name in its list is selected and not reserved for another upstream."""
        return run.selection.project(name) and self.position in run.selection.owners(name)


class _Found(Struct):
    """The differences between the lists and the catalog."""

    changed: dict[int, list[Listed]]  #: by the position of their upstream
    missing: list[ProjectName]  #: projects in no list, to be fetched by name
    unmatched: list[Entry]  #: globs that matched no project so far
    selected: Counter[int] = field(default_factory=Counter)  #: number of projects in each list
    seen: int = 0

    def see(self, name: ProjectName) -> None:
        """Note that an upstream has a project."""
        self.seen += 1
        if self.unmatched:
            self.unmatched = [entry for entry in self.unmatched if not entry.names(name)]


class _Lists(Struct):
    """What the upstreams answered when they were asked for their lists."""

    asked: list[_Asked] = field(default_factory=list)
    read: list[tuple[int, ListResult, ProjectList]] = field(default_factory=list)
    failed: list[tuple[UpstreamSection, Problem]] = field(default_factory=list)
    #: What to remember of each list that was read, by the name of its upstream.
    memories: dict[str, dict[str, Any]] = field(default_factory=dict)
    complete: bool = True  #: whether the lists of all upstreams so far are complete


def compare(run: Run) -> None:
    """Read the lists of all upstreams and mark every project that may have changed.

    The lists are held in memory; the catalog is streamed past them.
    """
    lists = _Lists()
    for position, upstream in enumerate(run.config.upstream):
        _ask(run, position, upstream, lists)
    if lists.failed and not _go_on_without(run, lists.failed, lists.asked):
        return
    if all(one.serials == {} for one in lists.asked):
        listings.tell_empty(run)
    shown = _hold_against_catalog(run, lists.asked, complete=lists.complete)
    if lists.complete:
        _tell_unmatched(run, shown)
    _note_places(run, lists.read, shown)
    _mark(run, lists, shown)
    run.ledger.count(projects_seen=shown.seen)


def _ask(run: Run, position: int, upstream: UpstreamSection, lists: _Lists) -> None:
    """Ask an upstream for its list, and add the answer to `lists`."""
    known = simple.validators(run, upstream)
    was_conditional = kind_of(upstream).has_pages and any(known.values())
    with gate.open_to_requests(run):  # an upstream may take long to answer
        answer, found = asking.fetch(run, upstream)
    serials = None
    own = answer.problem is None  # an alternate's list may lack new projects
    has_none = found is None and _has_none(run, upstream, answer)
    if found is not None:
        serials = trust.believed(run, upstream.name, _serials(found))
        done = lists.complete and own and None not in serials.values()
        lists.memories[upstream.name] = asking.memory(run, answer, found, done=done)
        lists.read.append((position, answer, found))
    elif not answer.not_modified and answer.problem is not None:
        lists.failed.append((upstream, answer.problem))
    run.cache.read.add(upstream.name)
    run.ledger.answered = run.ledger.answered or answer.problem is None or has_none
    asked = _Asked(
        upstream,
        position,
        serials,
        is_unchanged=answer.not_modified,
        is_moved=found is not None and own and was_conditional,
        has_none=has_none,
        new_ones=lists.complete,
    )
    lists.asked.append(asked)
    is_complete = has_none or (own and (found is not None or answer.not_modified))
    lists.complete = lists.complete and is_complete


def _mark(run: Run, lists: _Lists, shown: _Found) -> None:
    """Mark the projects that may have changed, and remember the lists, in one transaction."""
    with run.catalog.write() as connection:
        for position, changed in shown.changed.items():
            name = run.config.upstream[position].name
            for chunk in projects.chunks(changed):
                listed.to_look_as_listed(connection, chunk, name)
        number = sum(map(len, shown.changed.values())) + shown.seen
        for one in lists.asked:
            if _is_silent(one, shown):
                projects.check_again(connection, one.upstream.name, number)
        projects.to_look(connection, shown.missing)
        # In the transaction of the last marks: a list that counts as read is not read again.
        for name, values in lists.memories.items():
            listed.set_list(connection, name, **values)
            marks.write_once(connection, HAS_LIST.of(name), "")
        for position, _, _ in lists.read:
            mark = LIST_READ.of(run.config.upstream[position].name)
            marks.write(connection, mark, ListRead(run.id, shown.selected[position]))


def _tell_unmatched(run: Run, shown: _Found) -> None:
    """Warn about globs that match no project, because they may be misspelt."""
    for entry in shown.unmatched:
        text = (
            f"{entry.source}: {entry.text!r} matches no project in the lists of "
            f"{', '.join(upstream.name for upstream in run.config.upstream)}; check the spelling"
        )
        run.reporter.note("warning", text)


def _note_places(
    run: Run, read: Sequence[tuple[int, ListResult, ProjectList]], shown: _Found
) -> None:
    """Note the unusual addresses of pages in the lists, for the projects that are fetched."""
    for position, answer, found in read:
        upstream = run.config.upstream[position]
        looked_at = {*(each.name for each in shown.changed[position]), *run.selection.named}
        places = listings.odd_places(upstream, answer, found, looked_at)
        run.cache.places[upstream.name] = places
        if places:
            changed = shown.changed[position]
            changed[:] = [each._replace(place=places.get(each.name)) for each in changed]


def _is_silent(one: _Asked, shown: _Found) -> bool:
    """Whether a list shows that something has changed, but not what: rule 3 of
    `discover.lists.trust`.

    `serials` then holds only projects that are not selected. One of these may have changed.
    """
    if not one.is_moved or one.serials is None or shown.changed[one.position] or shown.missing:
        return False
    return not one.serials and shown.seen <= trust.FEW


def _serials(found: ProjectList) -> dict[ProjectName, int | None]:
    """Return the serials of a list by normalised name. The first of two spellings counts."""
    serials = {_normalised(entry.name): entry.serial for entry in found.projects}
    if len(serials) < len(found.projects):
        serials.clear()
        for entry in found.projects:
            serials.setdefault(_normalised(entry.name), entry.serial)
    return serials


def _normalised(name: str) -> ProjectName:
    """Return `canonicalize_name(name)`, without its regular expression for most names."""
    plain = name.lower().replace("_", "-").replace(".", "-")
    return ProjectName(canonicalize_name(name) if "--" in plain else plain)


def _hold_against_catalog(run: Run, asked: Sequence[_Asked], *, complete: bool) -> _Found:
    """Find new, changed and missing projects. Removes the names in the catalog from `asked`."""
    found = _Found({one.position: [] for one in asked}, [], run.selection.globs)
    read = {one.upstream.name for one in asked if one.serials is not None}
    configured = {one.upstream.name for one in asked}
    without = {one.upstream.name for one in asked if one.has_none}
    # If no list has changed, each project that is offered is as it was. Globs need their names.
    same = set() if found.unmatched or not all(one.is_unchanged for one in asked) else configured
    with run.catalog.read() as connection:
        if same:
            found.seen = listed.number_offered(connection, same)
        for row in listed.known(connection, besides=same):
            name = ProjectName(row.name)
            if _is_owned(run, asked, found, name, row):
                found.see(name)
                if row.upstream in without:
                    found.missing.append(name)
            elif (
                row.upstream in read or (complete and row.upstream not in configured)
            ) and not _is_known_to_be_gone(run, row):
                found.missing.append(name)
    for one in asked:
        _take_new(run, one, asked[: one.position], found)
    return found


def _is_known_to_be_gone(run: Run, row: KnownProject) -> bool:
    """Whether a project that is in no list was already asked for by name."""
    if row.kept is not None:  # it is kept here, and a new selection may exclude it
        return row.selection == run.selection.digest
    return row.removal_cause in (Cause.UPSTREAM, Cause.SELECTION)


def _is_owned(
    run: Run, asked: Sequence[_Asked], found: _Found, name: ProjectName, row: KnownProject
) -> bool:
    """Whether an upstream's list has a project of the catalog. Note it if it may have changed."""
    owned = False
    for one in asked:
        if one.serials is None:
            same = row.upstream == one.upstream.name and row.removal_cause is None
            owned = owned or (same and (one.is_unchanged or one.has_none))
            continue
        stated = one.serials.pop(name, _ABSENT)
        if stated is _ABSENT or owned:
            continue
        same = row.upstream == one.upstream.name
        if same and row.removal_cause is None and row.selection == run.selection.digest:
            owned = True  # unchanged since its page was read
            is_changed = stated is None or stated != row.serial or row.kept is not None
        else:
            owned = is_changed = (same or one.new_ones) and one.may_own(run, name)
        found.selected[one.position] += owned
        if is_changed:
            found.changed[one.position].append(Listed(name, stated))
    return owned


def _take_new(run: Run, one: _Asked, before: Sequence[_Asked], found: _Found) -> None:
    """Note the projects in an upstream's list that neither the catalog nor an earlier list has."""
    if one.serials is None or not one.new_ones:
        return
    for name, serial in one.serials.items():
        if any(earlier.serials and name in earlier.serials and earlier.may_own(run, name)
               for earlier in before):  # fmt: skip
            continue
        if one.may_own(run, name):
            found.see(name)
            found.selected[one.position] += 1
            found.changed[one.position].append(Listed(name, serial))


def _has_none(run: Run, upstream: UpstreamSection, answer: ListResult) -> bool:
    """Whether an upstream has no list. If it had one before, the list is broken instead."""
    if not upstream.has_list:
        return True
    if answer.status not in listings.NO_LIST:
        return False
    with run.catalog.read() as connection:
        return not marks.is_set(connection, HAS_LIST.of(upstream.name))


def _go_on_without(
    run: Run, failed: Sequence[tuple[UpstreamSection, Problem]], asked: Sequence[_Asked]
) -> bool:
    """Report the lists that cannot be read. Return whether the run can go on without them."""
    without = {one.upstream.name for one in asked if one.has_none}
    message = "; ".join(
        _said(upstream, problem, has_none=upstream.name in without) for upstream, problem in failed
    )
    # Faults of this machine come first: the other faults may only follow from them.
    first = min((each for _, each in failed), key=lambda each: each.reason not in _OWN_FAULTS)
    problem = msgspec.structs.replace(first, message=message)
    is_useful = any(one.serials is not None or one.is_unchanged for one in asked)
    if is_useful or run.selection.named:
        # Named projects need no list. Their own requests show whether an upstream is down.
        listings.tell(run, problem)
        return True
    answered = run.ledger.answered or any(each.reason is Reason.BAD_PAGE for _, each in failed)
    run.ledger.unreachable = unreachable(run, problem, answered=answered)
    run.ledger.hindered(run.ledger.unreachable)
    return False


def _said(upstream: UpstreamSection, problem: Problem, *, has_none: bool) -> str:
    """Return the message about a list that cannot be read."""
    message = f"upstream {upstream.name}: its project list cannot be read: {problem.message}"
    if not has_none:
        return message
    return (
        f"{message.rstrip('.')}. Globs and an empty select.projects need a list, names do not: "
        "name its projects in select.projects, and set has_list = false in its [[upstream]]"
    )


def unreachable(run: Run, problem: Problem, *, answered: bool = False) -> Problem:
    """Return `problem` as the reason why a run cannot work, with advice."""
    if problem.reason in _OWN_FAULTS:  # it says nothing about an upstream
        return problem
    addresses = ", ".join(upstream.url for upstream in run.config.upstream)
    what = "no upstream has a project list" if answered else "no upstream answered"
    return msgspec.structs.replace(
        problem,
        message=f"{what} ({addresses}): {problem.message.rstrip('.')}; check the "
        f"{'address' if answered else 'network'}, or name another index in [[upstream]] url. What "
        "is selected and published stays as it is",
        project="",
        file="",
    )
