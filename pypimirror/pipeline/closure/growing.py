"""Grow the closure: read pages and core metadata of needed projects until no new one is needed.

No file is fetched here. In each round, the projects that are needed in more versions are marked in
the catalog, and stored as needed in the same transaction. Then their pages are read, many at once,
and then the core metadata of their wheels. The closure is not computed from the beginning: only
these projects are read from the catalog, and only their new requirements are followed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace
from packaging.version import Version

from pypimirror.catalog.queries import projects
from pypimirror.catalog.queries.closure import requirements
from pypimirror.catalog.queries.work import claims
from pypimirror.domain import bounded
from pypimirror.domain.model import Problem, ProjectName, Reason, Stage
from pypimirror.pipeline.closure.gather import gather
from pypimirror.pipeline.closure.known import KnownClosure, ShrunkError, compute
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.discover.discover import discover
from pypimirror.pipeline.run import Run, StoppedError
from pypimirror.select.closure.close import reaches
from pypimirror.select.closure.versions import fewest

#: Most rounds of one run: many times the length of the longest real chains. This limit stops an
#: upstream that invents another dependency in each answer.
_MOST_ROUNDS = 1000

#: Version specifiers by project.
Needs = dict[str, tuple[str, ...]]


def grow(run: Run) -> tuple[KnownClosure, Needs, list[Problem]]:
    """Grow the closure until it needs nothing more.

    Return it, with the needed projects in the catalog, and the failures.
    """
    problems = _gather(run, None)
    with run.catalog.read() as connection:
        known = compute(connection, run.config, run.selection)
        old = requirements.needed(connection)
    run = replace(run, selection=run.selection.needing(old))
    changed: Iterable[str] = known.needed
    while grown := _grown(old, known.needed, changed):
        run = replace(run, selection=run.selection.needing(grown, more=True))
        marked = _mark(run, old, grown)
        old |= grown
        if not marked:  # nothing of it is mirrored
            break
        discover(run, Batch(0, tuple(marked)))
        if run.ledger.unreachable is not None:
            break
        problems += _gather(run, marked)
        known, changed = _learn(run, known, marked)
    # A project that is read once more loses the failures that were recorded of it.
    run.ledger.record(Stage.DISCOVER, problems)
    return known, old, problems


def _gather(run: Run, projects: Mapping[int, str] | None) -> list[Problem]:
    problems = gather(run, projects)
    run.ledger.failed(Stage.DISCOVER, problems)
    return problems


def _learn(
    run: Run, known: KnownClosure, marked: Mapping[int, str]
) -> tuple[KnownClosure, Iterable[str]]:
    """Add the contents of pages to the closure. Return it, and the projects needed in other
    versions.
    """
    with run.catalog.read() as connection:
        try:
            return known, known.learn(connection, marked)
        except ShrunkError:  # an upstream removed something meanwhile
            known = compute(connection, run.config, run.selection)
            return known, known.needed


def _grown(old: Needs, new: Needs, changed: Iterable[str]) -> Needs:
    """Return those of the changed projects that are needed in more versions than before, with these
    versions.
    """
    found = {}
    for name in changed:
        before, versions = old.get(name, ()), new.get(name, ())
        if not versions or versions == before:
            continue
        both = fewest([*before, *versions])
        if both != before:
            found[name] = both
    return found


def _mark(run: Run, old: Needs, grown: Needs) -> dict[int, ProjectName]:
    """Mark the projects that are needed in more versions, and store them. Return the marked ones.

    The selection of `run` has them already.
    """
    run.ledger.rounds += 1
    if run.ledger.rounds > _MOST_ROUNDS:
        said = f"select.dependencies: after {_MOST_ROUNDS:,} rounds more is needed still"
        raise StoppedError(Problem(Reason.CONFIGURATION, run.config.blame(said)))
    names = [name for name in map(ProjectName, grown) if run.selection.project(name)]
    read = [name for name in names if _offers_more(run, name, old.get(name, ()), grown[name])]
    with run.catalog.write() as connection:
        projects.ensure(connection, names)
        marked = dict(projects.decide_again(connection, read))
        claims.reopen(connection, list(marked))
        requirements.set_needed(connection, grown, ())
    run.ledger.marked |= marked
    fresh = [name for name in names if name not in old]
    run.ledger.count(projects_needed=len(fresh))
    if not read:
        return marked
    more = f", and more versions of {len(read) - len(fresh):,}" if len(read) > len(fresh) else ""
    what = "project is" if len(fresh) == 1 else "projects are"
    run.reporter.announce(
        f"Dependencies, round {run.ledger.rounds}: {len(fresh):,} {what} needed{more}"
    )
    return marked


def _offers_more(run: Run, name: str, before: Sequence[str], after: Sequence[str]) -> bool:
    """Whether the page of a project may have files of versions that only `after` allows.

    It has none if this run has read the page and no version on it is newly allowed.
    """
    lines = run.cache.versions.get(name)
    if not before or lines is None:
        return True
    versions = map(bounded.version, lines.split("\n"))
    return any(_allow(after, version) and not _allow(before, version) for version in versions)


def _allow(specifiers: Sequence[str], version: Version | None) -> bool:
    return any(reaches(each, version) for each in specifiers)
