"""The rounds of a run: releases need projects, whose releases need projects in turn.

The rules:

1. The requirements of new files are read, and the closure is computed from the whole catalog.
   Projects that are new in it, or that are needed in more versions, are marked. In a round, their
   pages and the core metadata of their wheels are read, and new requirements join the closure. The
   rounds end when it does not grow any more. Only then, the files of all marked projects are
   fetched together. If an upstream has no core metadata of a file, the file says what it requires
   when it is here. So all of this is repeated until no project is marked.
2. The needed projects are stored in the catalog, together with the marks, before their pages are
   read. So after a killed run, the next one begins with them.
3. When the closure does not grow any more, projects that are no longer needed leave. This happens
   only in a sync of the whole mirror, and only if no page and no file failed to be read: otherwise
   something is unknown.
4. They leave like deselected projects. But if the configuration has not changed, the upstream
   caused the loss, and the deletion guard counts it.
5. If a run changed neither files nor configuration, nothing is computed (`queries.closed`).
6. If more projects than `max_dependencies` are needed, the run ends before it removes anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from pypimirror.catalog.database import Connection
from pypimirror.catalog.figures.closure import EXAMPLES, ClosureFigures, Unsure
from pypimirror.catalog.marks import CLOSED, CLOSURE
from pypimirror.catalog.queries import marks, projects
from pypimirror.catalog.queries.closure import requirements
from pypimirror.catalog.queries.work import claims
from pypimirror.catalog.states import Cause
from pypimirror.domain.model import Problem, ProjectName, Reason, Stage
from pypimirror.pipeline.closure import needs
from pypimirror.pipeline.closure.growing import Needs, grow
from pypimirror.pipeline.closure.known import KnownClosure, why_missing
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.discover.discover import discover
from pypimirror.pipeline.run import Run, StoppedError
from pypimirror.select.closure.close import TooManyError
from pypimirror.select.selection import Selection

#: How many a message names.
_SHOWN = 3


def close(run: Run) -> bool:
    """Compute the closure, and read the pages of all needed projects.

    After that, `run.ledger.marked` has the projects whose files must be fetched. Return whether the
    requirements of all needed releases are known, except those that no file states.
    """
    run.ledger.begin(Stage.DISCOVER, None)
    run.ledger.marked = {}
    if run.ledger.unreachable is not None:
        return False
    try:
        known, old, problems = grow(run)
    except TooManyError as error:
        raise StoppedError(Problem(Reason.CONFIGURATION, _too_many(run, error))) from error
    if run.ledger.marked:
        return False
    new = known.needed
    is_sure = _is_whole(run) and not problems and not known.is_awaited and not _has_failed(run)
    if is_sure:
        _shrink(run, old, new)
    if not run.ledger.marked:
        _settle(run, known, new if is_sure else old, is_sure=is_sure)
    return not known.is_awaited


def _too_many(run: Run, error: TooManyError) -> str:
    return run.config.blame(
        f"select.dependencies: {error}. Nothing is removed. Raise select.max_dependencies, declare "
        "the environments in select.python and select.platforms, or leave projects out in "
        "select.exclude"
    )


def _is_whole(run: Run) -> bool:
    return run.names is None and run.retry is None and run.command == "sync" and run.fetches


def _has_failed(run: Run) -> bool:
    """Whether a failure left something about the upstreams unknown."""
    return run.ledger.no_room is not None or run.ledger.has_failed(Stage.DISCOVER)


def _shrink(run: Run, old: Needs, new: Needs) -> None:
    """Drop the projects that are no longer needed."""
    gone = [name for name in old if name not in new]
    less = {name: versions for name, versions in new.items() if versions != old[name]}
    if not gone and not less:
        return
    selection = run.selection.needing(new)
    with run.catalog.write() as connection:
        before = marks.read(connection, CLOSURE)
        guarded = before is not None and before.key == needs.key_of(run.config, run.selection)
        needs.let_go(connection, selection, gone, guarded=guarded)
        again = [n for n in map(ProjectName, [*gone, *less]) if selection.project(n)]
        run.ledger.marked = dict(projects.decide_again(connection, again))
        claims.reopen(connection, list(run.ledger.marked))
        requirements.set_needed(connection, less, gone)
        requirements.forget_unused(connection)
    if run.ledger.marked:
        discover(replace(run, selection=selection), Batch(0, tuple(run.ledger.marked)))


def _settle(run: Run, known: KnownClosure, needed: Needs, *, is_sure: bool) -> None:
    """Store the results. Nothing is computed again until something changes."""
    key = needs.key_of(run.config, run.selection)
    selection = run.selection.needing(needed)
    unknown = list(known.unknown())
    faults = list(known.unreadable())
    with run.catalog.write() as connection:
        away = _missing(connection, selection, known.needed)
        missing = list(why_missing(known, away))
        before = marks.read(connection, CLOSURE)
        figures = ClosureFigures(
            key if is_sure or before is None else before.key,
            sum(selection.is_besides(ProjectName(name)) for name in needed if name not in away),
            *(len(unknown), len(missing), len(faults)),
            *(tuple(each[:EXAMPLES]) for each in (unknown, missing, faults)),
        )
        marks.write(connection, CLOSURE, figures)
        if is_sure:
            marks.write(connection, CLOSED, key)
    _tell(run, "of {} it is not known what they require", "releases", unknown)
    _tell(run, "{} {are} needed and not mirrored", "projects", missing)
    _tell(run, "{} of releases that are needed cannot be read", "requirements", faults)


def _missing(
    connection: Connection, selection: Selection, needed: Mapping[str, object]
) -> dict[str, str]:
    """Return the needed projects that are not mirrored, with the reason."""
    found = {
        name: "select.exclude leaves it out"
        for name in needed
        if not selection.project(ProjectName(name))
    }
    for chunk in projects.chunks(name for name in needed if name not in found):
        rows = {row.name: row for row in projects.by_name(connection, chunk)}
        for name in chunk:
            row = rows.get(name)
            if row is None or row.removal_cause == Cause.UPSTREAM:
                found[name] = "no upstream has it"
    return found


def _tell(run: Run, said: str, noun: str, ones: Sequence[Unsure]) -> None:
    if not ones:
        return
    shown = "; ".join(
        f"{each.project} {each.version}".rstrip() + f" {each.why}" for each in ones[:_SHOWN]
    )
    more = "; …" if len(ones) > _SHOWN else ""
    are = "are" if len(ones) > 1 else "is"
    number = f"{len(ones):,} {noun if len(ones) > 1 else noun.removesuffix('s')}"
    run.reporter.note("warning", f"dependencies: {said.format(number, are=are)}: {shown}{more}")
