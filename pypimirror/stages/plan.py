"""The plan of a sync: what it would fetch, publish, withdraw and remove.

It is the sync itself, up to the end of discovery and again for the removals, in a catalog whose
changes are rolled back; so the plan and the run cannot disagree.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Row

from pypimirror import lock
from pypimirror.catalog import files, projects
from pypimirror.catalog.database import Catalog, is_absent
from pypimirror.catalog.states import PROVEN
from pypimirror.config import Config
from pypimirror.model import Problem, Stage
from pypimirror.select.selection import Selection
from pypimirror.stages import discover, publish, sequence, standing, withdraw
from pypimirror.stages.reporter import Reporter
from pypimirror.stages.run import Run, StoppedError, check_names
from pypimirror.tree import Tree


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

    Raises `StoppedError` when no upstream answers, `LockedError` while a run is under way.
    """
    selection = Selection(config)
    checked = check_names(selection, names)
    with _open(config) as (catalog, tree), catalog.rehearse():
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


@contextmanager
def _open(config: Config) -> Iterator[tuple[Catalog, Tree]]:
    """Open catalog and mirror root, and make neither where there is none."""
    with ExitStack() as stack:
        staging = stack.enter_context(TemporaryDirectory(prefix="pypimirror-"))
        tree = Tree(config.directory, staging=Path(staging))
        if (tree.private / "lock").exists():
            # The rehearsal is one long transaction, which a run would wait for in vain.
            stack.enter_context(lock.hold(tree.private / "lock"))
        url = "sqlite://" if is_absent(config.catalog_url) else config.catalog_url
        yield stack.enter_context(closing(Catalog.open(url))), tree


def _add_batch(run: Run, found: Plan, ids: Sequence[int]) -> None:
    with run.catalog.read() as connection:
        found.fetch.extend(_entry(row) for row in files.due(connection, ids, run.due_at))
        rows = projects.get(connection, ids)
        _add_pages(found, (row.name for row in rows if row.dirty and row.gone is None))


def _add_removals(run: _Rehearsal, found: Plan) -> None:
    """Do in the catalog what the end of a sync does there, and note it."""
    with run.catalog.read() as connection:
        leaving = [row for row in files.leaving(connection) if row.state in PROVEN]
        run.kept.extend(itertools.chain(*standing.told(run, connection).values()))
        if publish.is_another_form(run, connection):
            entries = projects.root_entries(connection, with_gone=False)
            _add_pages(found, (entry.name for entry in entries))
    withdrawn = withdraw.withdraw(run)
    if withdrawn.refusal is not None:
        run.kept.append(withdrawn.refusal)
    else:
        found.withdraw = [_entry(row) for row in leaving]
    before = run.now - run.config.delete.grace.total_seconds()
    with run.catalog.write() as connection:
        for chunk in projects.chunks(withdrawn.projects):
            rows = projects.get(connection, chunk)
            _add_pages(found, (row.name for row in rows if row.gone is None))
        projects.settle(connection, with_gone=withdrawn.allowed)
        found.remove = [_entry(row) for row in files.expired(connection, before)]


def _add_pages(found: Plan, names: Iterable[str]) -> None:
    known = set(found.publish)
    found.publish.extend(name for name in names if name not in known)


def _entry(row: Row[Any]) -> Entry:
    return Entry(row.project, row.filename, row.size)
