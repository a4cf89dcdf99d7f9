"""Running again only what failed, or was not reached, in an earlier run. The rules:

1. A later run of the same kind that completed has done everything: nothing is left to retry.
2. A run that ended before it knew what had changed, or that could not read an upstream's list, is
   repeated as a whole.
3. Of a run that ended before it was through, what is open now is done: of the projects that it
   named, or of all. Pages that were read are not asked for again.
4. Of a run that was through, each failure is looked up. A file that is still open is tried again,
   no other of its project; where its bytes proved bad, its page is asked for, too, since that may
   be what is wrong. A page that could not be read, or offers what the mirror refuses, is
   asked for again; what was mended meanwhile is left alone.
5. Nothing waits for its next try (`pipeline.backoff`).
6. The retry of a verification reads what that run did not see to be right, with its options.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import msgspec

from pypimirror.catalog.database import Connection
from pypimirror.catalog.queries import doubts, files, projects, runs
from pypimirror.catalog.records import FailureRecord, RunRecord
from pypimirror.catalog.states import CUT_SHORT
from pypimirror.config.settings import ConfigError
from pypimirror.domain.model import ProjectName, Stage
from pypimirror.pipeline.context.retry_plan import Retry
from pypimirror.pipeline.run import Run
from pypimirror.select.selection import Selection

_decode_names = msgspec.json.Decoder(tuple[ProjectName, ...]).decode


def find_run(connection: Connection, name: str | None) -> RunRecord | None:
    """Return the run to retry: by name as in `runs.find`; None: the last that is not complete.

    Raises `ConfigError` where there is no run of that name.
    """
    if name is None:
        return runs.last_undone(connection)
    row = runs.find(connection, name)
    if row is None:
        raise ConfigError(f"{name}: there is no such run; 'pypimirror runs' lists them")
    return row


def plan(connection: Connection, selection: Selection, name: str, command: str) -> Retry | None:
    """Decide what to do again of a run; None: nothing. Call with the lock held.

    Raises `ConfigError` where there is no such run of `command`.
    """
    row = find_run(connection, name)
    assert row is not None
    if row.command != command:
        raise ConfigError(f"{row.name}: is a run of {row.command}, and not of {command}")
    if runs.is_made_good(connection, row, is_timed="--max-duration=" in row.arguments):
        return None
    if command == "verify":
        said = f"Verifying again what {row.name} did not see to be right"
        return Retry(row.name, said, whole=True)
    named = _decode_names(row.arguments)
    asked = tuple(n for n in named if selection.project(n)) or None
    if named and asked is None:
        return None
    failures = runs.failures_of(connection, row.id)
    without_project = {failure.stage for failure in failures if not failure.project}
    if not runs.has_looked(connection, row.id) or Stage.DISCOVER in without_project:
        said = f"Retrying all of {row.name}, which did not learn what has changed"
        return Retry(row.name, said, whole=True, names=asked)
    left = _left(connection, selection, failures)
    if row.state in CUT_SHORT or Stage.DOWNLOAD in without_project or len(left) > projects.CHUNK:
        return _finish(connection, row, asked, left)
    if not left:
        return None
    return Retry(
        row.name,
        f"Retrying {_said(left)} that failed in {row.name}",
        names=tuple(sorted(left)),
        look=left.look,
        reopen=left.with_files,
        only={name: frozenset(left[name]) for name in left.with_files if name not in left.look},
    )


def _finish(
    connection: Connection, row: RunRecord, asked: tuple[ProjectName, ...] | None, left: _Left
) -> Retry:
    """Rule 3."""
    unfinished = _count(projects.number_left(connection, asked), "project")
    if left:
        said = f"Retrying {_said(left)} that failed in {row.name}, and {unfinished} left by it"
    else:
        said = f"Retrying {unfinished} that {row.name} did not finish"
    return Retry(row.name, said, names=asked, look=left.look, reopen=left.with_files)


class _Left(dict[ProjectName, set[str]]):
    """What is left of failures: by project the names of files; "" is its page."""

    @property
    def look(self) -> tuple[ProjectName, ...]:
        """The projects whose pages must be asked for."""
        return tuple(sorted(name for name, things in self.items() if "" in things))

    @property
    def with_files(self) -> tuple[ProjectName, ...]:
        """The projects with files that must be tried."""
        return tuple(sorted(name for name, things in self.items() if things - {""}))


def _left(connection: Connection, selection: Selection, failures: Iterable[FailureRecord]) -> _Left:
    """Rule 4: what of these failures still stands."""
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
    """Write what failed for people."""
    number = sum(len(things - {""}) for things in left.values())
    parts = []
    if number:
        parts.append(f"{_count(number, 'file')} of {_count(len(left.with_files), 'project')}")
    if left.look:
        parts.append(f"the pages of {_count(len(left.look), 'project')}")
    return " and ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def mark(run: Run, retry: Retry) -> None:
    """Mark the projects that a retry is about, in place of looking for changes."""
    with run.catalog.write() as connection:
        projects.ensure(connection, retry.look)
        projects.to_look(connection, retry.look)
        projects.reopen(connection, retry.reopen)
        doubts.look_at_bad(connection, retry.reopen)
    run.ledger.count(projects_seen=len(retry.look))
