"""The plan of a sync: what it would fetch, publish, withdraw and remove.

It is the sync itself, up to the end of discovery, in a catalog whose changes are rolled back; so
the plan and the run cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pypimirror.catalog import files, projects
from pypimirror.catalog.states import PROVEN
from pypimirror.config import Config
from pypimirror.model import Problem, Stage
from pypimirror.selection import Selection
from pypimirror.stages import discover, sequence, withdraw
from pypimirror.stages.reporter import Reporter
from pypimirror.stages.run import Run, StoppedError, check_names, open_mirror


@dataclass(frozen=True)
class Entry:
    """One file of a plan."""

    project: str
    file: str
    size: int | None  #: bytes, where the upstream says

    def as_json(self) -> dict[str, Any]:
        """Return the entry as JSON shows it."""
        return {"project": self.project, "file": self.file, "size": self.size}


@dataclass
class Plan:
    """What a sync would do."""

    fetch: list[Entry] = field(default_factory=list)
    publish: list[str] = field(default_factory=list)  #: projects whose pages would be rendered
    withdraw: list[Entry] = field(default_factory=list)
    remove: list[Entry] = field(default_factory=list)  #: files whose bytes would go now
    problems: list[Problem] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the document that `sync --dry-run --json` prints."""
        return {
            "fetch": [entry.as_json() for entry in self.fetch],
            "publish": self.publish,
            "withdraw": [entry.as_json() for entry in self.withdraw],
            "remove": [entry.as_json() for entry in self.remove],
            "bytes": sum(entry.size or 0 for entry in self.fetch),
            "failures": [
                {
                    "project": problem.project,
                    "file": problem.file,
                    "stage": Stage.DISCOVER.value,
                    "reason": problem.reason.value,
                    "message": problem.message,
                }
                for problem in self.problems
            ],
        }


@dataclass
class _Rehearsal(Run):
    """A run that leaves no record: it keeps its failures to itself."""

    kept: list[Problem] = field(default_factory=list)

    def failed(self, stage: Stage, problems: Iterable[Problem]) -> None:
        """Keep what failed for the plan."""
        for problem in problems:
            self.reporter.problem(stage, problem)
            self.kept.append(problem)


def plan(config: Config, names: Sequence[str], reporter: Reporter) -> Plan:
    """Look at the upstreams and say what a sync would do; nothing is changed.

    Raises `StoppedError` when no upstream answers.
    """
    selection = Selection(config)
    checked = check_names(selection, names)
    with open_mirror(config, dry=True) as (catalog, tree), catalog.rehearse():
        run = _Rehearsal(config, selection, catalog, tree, reporter, checked)
        try:
            discover.look_for_changes(run)
            found = Plan()
            for ids in sequence.batches(run):
                discover.discover(run, ids)
                _add_batch(run, found, ids)
            if run.unreachable:
                raise StoppedError(run.unreachable)
            _add_removals(run, found)
        finally:
            run.close()
    found.problems = run.kept
    return found


def _add_batch(run: Run, found: Plan, ids: Sequence[int]) -> None:
    with run.catalog.read() as connection:
        found.fetch.extend(
            Entry(row.project, row.filename, row.size) for row in files.due(connection, ids)
        )
        found.publish.extend(
            row.name for row in projects.get(connection, ids) if row.dirty and row.gone is None
        )


def _add_removals(run: _Rehearsal, found: Plan) -> None:
    with run.catalog.read() as connection:
        leaving = list(files.leaving(connection))
        refusal = withdraw.guard(run, leaving, files.count_proven(connection))
        before = run.now - run.config.delete.grace.total_seconds()
        expired = files.expired(connection, before)
        run.kept.extend(projects.standing_refusals(connection, run.names))
    if refusal is not None:
        run.kept.append(refusal)
    found.withdraw = [
        Entry(row.project, row.filename, row.size) for row in leaving if row.state in PROVEN
    ]
    found.remove = [Entry(row.project, row.filename, row.size) for row in expired]
