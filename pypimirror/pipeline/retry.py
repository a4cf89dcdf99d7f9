"""Retry: repeat only what failed, or was not reached, in an earlier run. The rules:

1. If a later run of the same kind completed, it has done everything: nothing is left to retry.
2. A run that ended before it knew what had changed, or that could not read an upstream's list, is
   repeated as a whole.
3. If a run ended early for another reason, the retry does all open work: of the projects that the
   run named, or of all projects. Pages that were read are not fetched again.
4. If a run reached its end, each failure is looked up. A file that is still open is tried again,
   and no other file of its project. If its bytes were bad, its page is fetched too, because the
   page may be wrong. A page is fetched again if it could not be read or offers something that the
   mirror refuses. Failures that were solved meanwhile are left alone.
5. No file waits for its next try (`pipeline.backoff`).
6. The retry of a verification checks the files that the earlier run did not prove right, with the
   same options.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import msgspec

from pypimirror.catalog.database import Connection
from pypimirror.catalog.queries import doubts, files, projects, runs
from pypimirror.catalog.queries.history import batches
from pypimirror.catalog.records import FailureRecord, RunRecord
from pypimirror.catalog.states import CUT_SHORT
from pypimirror.config.settings import ConfigError
from pypimirror.domain.model import ProjectName, Stage
from pypimirror.domain.sizes import number_of
from pypimirror.pipeline.context.retry_plan import Retry
from pypimirror.pipeline.run import Run
from pypimirror.select.selection import Selection

_decode_names = msgspec.json.Decoder(tuple[ProjectName, ...]).decode


def find_run(connection: Connection, name: str | None) -> RunRecord | None:
    """Return the run to retry, by name as in `runs.find`; without a name, the last incomplete one.

    Raises `ConfigError` if there is no run with that name.
    """
    if name is None:
        return runs.last_undone(connection)
    row = runs.find(connection, name)
    if row is None:
        raise ConfigError(f"{name}: there is no such run; 'pypimirror runs' lists them")
    return row


def plan(connection: Connection, selection: Selection, name: str, command: str) -> Retry | None:
    """Decide what to repeat of a run; None if nothing is left. Call it with the lock held.

    Raises `ConfigError` if there is no such run of `command`.
    """
    row = find_run(connection, name)
    assert row is not None
    if row.command != command:
        raise ConfigError(f"{row.name}: is a run of {row.command}, not of {command}")
    if runs.is_made_good(connection, row, is_timed="--max-duration=" in row.arguments):
        return None
    if command == "verify":
        summary = f"Verifying again what {row.name} did not prove right"
        return Retry(row.name, summary, whole=True)
    named = _decode_names(row.arguments)
    asked = tuple(n for n in named if selection.project(n)) or None
    if named and asked is None:
        return None
    failures = runs.failures_of(connection, row.id)
    without_project = {failure.stage for failure in failures if not failure.project}
    if not batches.has_looked(connection, row.id) or Stage.DISCOVER in without_project:
        summary = f"Retrying all of {row.name}, which did not find out what has changed"
        return Retry(row.name, summary, whole=True, names=asked)
    failed = _left(connection, selection, failures)
    if row.state in CUT_SHORT or Stage.DOWNLOAD in without_project or len(failed) > projects.CHUNK:
        return _finish(connection, row, asked, failed)
    if not failed:
        return None
    return Retry(
        row.name,
        f"Retrying {_said(failed)} that failed in {row.name}",
        names=tuple(sorted(failed)),
        look=failed.look,
        reopen=failed.with_files,
        only={
            name: frozenset(failed[name]) for name in failed.with_files if name not in failed.look
        },
    )


def _finish(
    connection: Connection, row: RunRecord, asked: tuple[ProjectName, ...] | None, left: _Left
) -> Retry:
    """Rule 3: return the plan that does all open work."""
    unfinished = number_of(projects.number_left(connection, asked), "project")
    if left:
        summary = f"Retrying {_said(left)} that failed in {row.name}, and {unfinished} not finished"
    else:
        summary = f"Retrying {unfinished} that {row.name} did not finish"
    return Retry(row.name, summary, names=asked, look=left.look, reopen=left.with_files)


class _Left(dict[ProjectName, set[str]]):
    """The failures that still stand: by project, the names of its files; "" is its page."""

    @property
    def look(self) -> tuple[ProjectName, ...]:
        """The projects whose pages must be fetched."""
        return tuple(sorted(name for name, things in self.items() if "" in things))

    @property
    def with_files(self) -> tuple[ProjectName, ...]:
        """The projects with files that must be tried again."""
        return tuple(sorted(name for name, things in self.items() if things - {""}))


def _left(connection: Connection, selection: Selection, failures: Iterable[FailureRecord]) -> _Left:
    """Rule 4: return the failures that still stand."""
    failed: dict[ProjectName, set[str]] = defaultdict(set)
    for failure in failures:
        if failure.project and selection.project(ProjectName(failure.project)):
            failed[ProjectName(failure.project)].add(failure.file)
    left = _Left()
    for names in projects.chunks(failed):
        known = {row.name: row for row in projects.by_name(connection, names)}
        still_open = files.open_names(connection, names)
        refused = {(p.project, p.file) for p in doubts.standing_refusals(connection, names)}
        for name in names:
            things = {file for file in failed[name] if file and (name, file) in still_open}
            row = known.get(name)
            if any((name, thing) in refused for thing in failed[name]) or (
                "" in failed[name] and (row is None or row.needs_fetch)
            ):
                things.add("")
            if things:
                left[name] = things
    return left


def _said(left: _Left) -> str:
    """Describe the failures for people."""
    number = sum(len(things - {""}) for things in left.values())
    parts = []
    if number:
        parts.append(f"{number_of(number, 'file')} of {number_of(len(left.with_files), 'project')}")
    if left.look:
        parts.append(f"the pages of {number_of(len(left.look), 'project')}")
    return " and ".join(parts)


def mark(run: Run, retry: Retry) -> None:
    """Mark the projects of a retry, instead of looking for changes."""
    with run.catalog.write() as connection:
        projects.ensure(connection, retry.look)
        projects.to_look(connection, retry.look)
        projects.reopen(connection, retry.reopen)
        doubts.look_at_bad(connection, retry.reopen)
    run.ledger.count(projects_seen=len(retry.look))
