"""The rounds of a run: files here need projects, which are mirrored, and need projects in turn.

The rules:

1. After the batches of a round, the requirements of new files are read, and the closure is computed
   from the whole catalog. Projects that are new in it, or that are needed in more versions, are
   marked: they are the batches of the next round. The rounds end when nothing grows.
2. The needed projects are stored in the catalog, together with the marks. So after a killed run,
   the next one begins with them.
3. Only when nothing grows any more, projects that are no longer needed leave: only in a sync of the
   whole mirror, and only if no failure left something unknown, such as a page or a file that could
   not be read.
4. They leave as deselected. But if the configuration has not changed, the upstream caused the loss,
   and the deletion guard counts it.
5. If a run changed neither files nor configuration, nothing is computed (`queries.closed`).
6. If more projects than `max_dependencies` are needed, the run ends before it removes anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pypimirror.catalog.database import Connection
from pypimirror.catalog.figures.closure import EXAMPLES, ClosureFigures, Unsure
from pypimirror.catalog.marks import CLOSED, CLOSURE
from pypimirror.catalog.queries import marks, projects
from pypimirror.catalog.queries.closure import requirements
from pypimirror.catalog.states import Cause
from pypimirror.domain.model import Problem, ProjectName, Reason, Stage
from pypimirror.pipeline.closure import needs
from pypimirror.pipeline.closure.gather import gather
from pypimirror.pipeline.closure.known import Known, compute, why_missing
from pypimirror.pipeline.run import Run, StoppedError
from pypimirror.select.closure.close import TooManyError
from pypimirror.select.closure.versions import fewest
from pypimirror.select.selection import Selection

#: Rounds of one run: many times those of the longest real chains. An upstream that makes up
#: another dependency each time it is asked comes to an end here.
_MOST_ROUNDS = 1000
#: How many a message names.
_SHOWN = 3

_Needs = dict[str, tuple[str, ...]]


def close(run: Run) -> None:
    """Compute the closure, and mark the projects for the next round (`run.ledger.marked`)."""
    run.ledger.begin(Stage.DISCOVER, None)
    run.ledger.marked = {}
    if run.ledger.unreachable is not None:
        return
    problems = gather(run)
    run.ledger.failed(Stage.DISCOVER, problems)
    with run.catalog.read() as connection:
        try:
            known = compute(connection, run.config, run.selection)
        except TooManyError as error:
            raise StoppedError(Problem(Reason.CONFIGURATION, _too_many(run, error))) from error
        old = requirements.needed(connection)
    new = known.needed()
    grown = _grown(old, new)
    if grown:
        _grow(run, old, grown)
        if run.ledger.marked:
            return
        old = {**old, **grown}  # nothing of it is mirrored
    is_sure = _is_whole(run) and not problems and not known.is_awaited and not _has_failed(run)
    if is_sure:
        _shrink(run, old, new)
    if not run.ledger.marked:
        _settle(run, known, new if is_sure else old, is_sure=is_sure)


def _too_many(run: Run, error: TooManyError) -> str:
    return run.config.blame(
        f"select.dependencies: {error}. Nothing is removed. Raise select.max_dependencies, declare "
        "the environments in select.python and select.platforms, or leave projects out in "
        "select.exclude"
    )


def _grown(old: _Needs, new: _Needs) -> _Needs:
    """Return the projects that are needed in more versions than before, with these versions."""
    found = {}
    for name, versions in new.items():
        both = fewest([*old.get(name, ()), *versions])
        if both != old.get(name):
            found[name] = both
    return found


def _grow(run: Run, old: _Needs, grown: _Needs) -> None:
    run.ledger.rounds += 1
    if run.ledger.rounds > _MOST_ROUNDS:
        said = f"select.dependencies: after {_MOST_ROUNDS:,} rounds more is needed still"
        raise StoppedError(Problem(Reason.CONFIGURATION, run.config.blame(said)))
    selection = run.selection.needing({**old, **grown})
    names = [name for name in map(ProjectName, grown) if selection.project(name)]
    with run.catalog.write() as connection:
        projects.ensure(connection, names)
        run.ledger.marked = dict(projects.decide_again(connection, names))
        requirements.set_needed(connection, grown, ())
    fresh = [name for name in names if name not in old]
    run.ledger.count(projects_needed=len(fresh))
    more = f", and more versions of {len(names) - len(fresh):,}" if len(names) > len(fresh) else ""
    what = "project is" if len(fresh) == 1 else "projects are"
    run.reporter.announce(
        f"Dependencies, round {run.ledger.rounds}: {len(fresh):,} {what} needed{more}"
    )


def _is_whole(run: Run) -> bool:
    return run.names is None and run.retry is None and run.command == "sync" and run.fetches


def _has_failed(run: Run) -> bool:
    """Whether a failure left something about the upstreams unknown."""
    return run.ledger.no_room is not None or run.ledger.has_failed(Stage.DISCOVER)


def _shrink(run: Run, old: _Needs, new: _Needs) -> None:
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
        requirements.set_needed(connection, less, gone)
        requirements.forget_unused(connection)


def _settle(run: Run, known: Known, needed: _Needs, *, is_sure: bool) -> None:
    """Store the results. Nothing is computed again until something changes."""
    key = needs.key_of(run.config, run.selection)
    selection = run.selection.needing(needed)
    unknown = list(known.unknown())
    faults = list(known.unreadable())
    with run.catalog.write() as connection:
        away = _missing(connection, selection, known.needed())
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
